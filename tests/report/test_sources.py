"""What a record says of images: it can be read back, and refuses what cannot be."""

import pytest
from pydantic import TypeAdapter, ValidationError

from efface.report.sources import DataUsed

ADAPTER = TypeAdapter(DataUsed)


def test_of_which_kind_images_were_to_be_forgotten_is_read_back() -> None:
    used = DataUsed("zoo", "12" * 32, 5, 3, "34" * 32, forget_where={"color": "brown"}, lost=("siblings",))
    assert ADAPTER.validate_json(ADAPTER.dump_json(used)) == used


def test_a_source_without_images_or_with_an_unknown_split_is_none() -> None:
    for wrong in ({"n": 0}, {"lost": ("cousins",)}):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(
                {"source": "zoo", "sha256": "12" * 32, "n": 5, "classes": 3, "manifest": "34" * 32} | wrong
            )
