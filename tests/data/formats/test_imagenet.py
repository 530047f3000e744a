from pathlib import Path

import pytest

from efface.data.formats.imagenet import are_ids, names_of_ids
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, read, said, write


def test_ids_are_names_of_the_same_class() -> None:
    named = names_of_ids()
    assert len(named) == 1000
    # Three classes that anyone can look up.
    assert (named["n01440764"], named["n02099601"], named["n15075141"]) == (
        "tench",
        "Golden Retriever",
        "toilet paper",
    )


def test_folders_get_names_with_a_prefix_and_without(tmp_path: Path) -> None:
    write(tmp_path / "n02099601/1.png", 1)
    write(tmp_path / "n01440764/2.png", 2)
    assert said(read(f"imagenet:{tmp_path}")) == [(2, "tench"), (1, "Golden Retriever")]
    assert open_source(str(tmp_path), preprocess=as_tensor).class_names == ("tench", "Golden Retriever")


def test_other_ids_keep_the_names_of_their_folders(tmp_path: Path) -> None:
    write(tmp_path / "n00000001/1.png", 1)
    assert open_source(str(tmp_path), preprocess=as_tensor).class_names == ("n00000001",)
    with pytest.raises(InputError, match="'n00000001' is no class of ImageNet-1k"):
        read(f"imagenet:{tmp_path}")


def test_an_id_is_an_n_and_eight_digits() -> None:
    assert are_ids(["n01440764"])
    assert not are_ids(["n01440764", "cat"])
    assert not are_ids(["n0144076"])
    assert not are_ids([])
