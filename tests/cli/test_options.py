from pathlib import Path

import pytest

from efface.cli.options import check_places, columns, slug
from efface.errors import InputError


def test_class_names_become_parts_of_paths() -> None:
    assert slug("Golden Retriever (dog)/..") == "golden-retriever-dog"
    assert slug("帝王蝶") == "帝王蝶"
    assert slug("..") == "class"


def test_a_source_that_is_made_is_no_path(tmp_path: Path) -> None:
    check_places(tmp_path / "run", ["symbols:test"], overwrite=False)
    with pytest.raises(InputError, match="does not exist"):
        check_places(tmp_path / "run", ["symbols:test", str(tmp_path / "symbols")], overwrite=False)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert columns(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
