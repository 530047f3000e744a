import json
from pathlib import Path
from typing import Any

import pytest

from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, read, said, write

SPLIT = {
    "train": [["cat/1.jpg", 0, "cat"], ["sea_lion/2.jpg", 1, "sea_lion"]],
    "val": [],
    "test": [["sea_lion/3.jpg", 1, "sea_lion"]],
}


def _coop(root: Path, document: Any = SPLIT, images: str = "images") -> Path:
    for path, gray in (("cat/1.jpg", 1), ("sea_lion/2.jpg", 2), ("sea_lion/3.jpg", 3)):
        write(root / images / path, gray)
    (root / "split_zhou_Zoo.json").write_text(json.dumps(document))
    return root / "split_zhou_Zoo.json"


@pytest.mark.parametrize("images", [".", "images", "zoo/101_ObjectCategories"])
def test_images_are_found_near_the_file(tmp_path: Path, images: str) -> None:
    file = _coop(tmp_path, images=images)
    assert said(read(f"coop:{file}")) == [(3, "sea lion")]
    assert said(read(f"coop:{file},split=train")) == [(1, "cat"), (2, "sea lion")]
    assert open_source(str(file), preprocess=as_tensor).class_names == ("cat", "sea lion")


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    file = _coop(tmp_path / "lists", images="../far/away/from/here")
    assert said(read(f"coop:{file},images={tmp_path}/far/away/from/here")) == [(3, "sea lion")]


def test_the_digest_is_of_the_labels_too(tmp_path: Path) -> None:
    def digest(*labels: int) -> str:
        rows = [[path, label, "ab"[label]] for path, label in zip(("cat/1.jpg", "sea_lion/2.jpg"), labels, strict=True)]
        return open_source(f"coop:{_coop(tmp_path, {'test': rows})}", preprocess=as_tensor).sha256

    assert digest(0, 1) == digest(0, 1) != digest(1, 0)


def test_a_home_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names 1 missing image,") as caught:
        read(f"coop:{_coop(tmp_path)},images=~no-such-user/images")
    assert caught.value.hint == "paths start from the folder '~no-such-user/images'"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "is no split of CoOp"),
        ({"test": [["a.jpg", 0]]}, "is no split of CoOp"),
        ({"train": []}, "has no split 'test'"),
        ({"test": []}, "has no image or skips labels"),
        ({"test": [["cat/1.jpg", 4, "cat"]]}, "has no image or skips labels"),
        ({"test": [["cat/1.jpg", 0.9, "cat"]]}, "the label 0.9 is no whole number"),
        ({"test": [["cat/1.jpg", True, "cat"]]}, "the label True is no whole number"),
        ({"train": [["cat/1.jpg", 0, "cat"]], "test": [["cat/1.jpg", 0, "wolf"]]}, "label 0 both 'cat' and 'wolf'"),
        ({"test": [["cat/9.jpg", 0, "cat"]]}, "names 1 missing image,"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, document: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(f"coop:{_coop(tmp_path, document)}")
