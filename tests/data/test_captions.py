"""Captioned images from tables, parquet files and labelled images, in whatever order they are asked for."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from efface.data import captions
from efface.data.captions import Asked, CaptionedImages, open_captioned, read_captioned
from efface.data.files import sha256_of, sha256_of_all
from efface.data.images import Pixels
from efface.errors import InputError
from efface.types import Images, PixelSpace


def _to_tensor(image: Image.Image) -> Pixels:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


ASKED = Asked(PixelSpace((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 2, 2), _to_tensor)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _image(path: Path, gray: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), gray).save(path)


def _table(folder: Path, text: str, name: str = "metadata.csv", images: int = 3) -> Path:
    for gray in range(images):
        _image(folder / "in" / f"{gray}.png", gray)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def _parquet(path: Path, grays: list[int], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = []
    for gray in grays:
        file = io.BytesIO()
        Image.new("L", (2, 2), gray).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    table = datasets.Dataset.from_dict({"image": cells, **columns})
    table.cast_column("image", datasets.Image()).to_parquet(path)
    return path


def _folders(root: Path) -> Path:
    for label, name in enumerate(("cat", "dog", "fox")):
        for index in range(2):
            _image(root / name / f"{index}.png", 10 * label + index)
    return root


def _grays(found: CaptionedImages, rows: list[int], size: int = 2) -> list[int]:
    batches = list(found.in_order(torch.tensor(rows, dtype=torch.int64), size))
    assert all(len(batch) == size for batch in batches[:-1])
    return [round(gray * 255) for batch in batches for gray in batch[:, 0, 0, 0].tolist()]


def test_a_table_names_images_and_captions(tmp_path: Path) -> None:
    folder = _table(tmp_path / "t", 'file_name,caption\nin/2.png,two\nin/0.png,"none, or zero"\n')
    found = open_captioned(str(folder), ASKED)
    assert found.levels == (("two", "none, or zero"),)
    assert _grays(found, [1, 0, 0]) == [0, 2, 2]
    names = ("in/0.png", "in/2.png", "metadata.csv")
    assert found.sha256 == sha256_of_all({name: sha256_of(folder / name) for name in names})


def test_several_captions_of_an_image_are_levels(tmp_path: Path) -> None:
    rows = "in/0.png,a\nin/1.png,b\nin/0.png,c\nin/0.png,d\nin/1.png,e\nin/2.png,f\n"
    found = open_captioned(str(_table(tmp_path / "t", f"file_name,text\n{rows}", "captions.csv")), ASKED)
    # One with fewer captions has them again, from the first on.
    assert found.levels == (("a", "b", "f"), ("c", "e", "f"), ("d", "b", "f"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,caption\nin/0.png,a\n", "has the columns image, caption"),
        ("file_name,words\nin/0.png,a\n", "has the columns file_name, words"),
        ("", "has the columns none"),
        ("file_name,caption\nin/9.png,a\n,b\n", "names 2 missing images, 'in/9.png' first"),
        ("file_name,caption\nin/0.png,a\nin/1.png, \n", "row 1 of .* has an empty caption"),
        ("file_name,caption\nin/0.png\n", "row 0 of .* has an empty caption"),
        ("file_name,caption\n", "holds no image"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_captioned(str(_table(tmp_path / "t", text)), ASKED)


def test_a_table_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    folder = _table(tmp_path / "t", "\ufefffile_name,caption\nin/0.png,a\n")
    assert read_captioned(folder / "metadata.csv").captions == (("a",),)


@pytest.mark.parametrize(
    "written", [b"file_name,caption\nin/0.png,\xe4\n", b"file_name,caption\nin/0.png," + b"a" * 200000]
)
def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path, written: bytes) -> None:
    folder = _table(tmp_path / "t", "")
    (folder / "metadata.csv").write_bytes(written)
    with pytest.raises(InputError, match=r"metadata\.csv' cannot be read") as caught:
        open_captioned(str(folder), ASKED)
    assert "UTF-8" in caught.value.hint


@pytest.mark.parametrize("column", ["caption", "text"])
def test_a_parquet_file_with_a_column_of_texts(tmp_path: Path, column: str) -> None:
    file = _parquet(tmp_path / "a.parquet", [5, 6, 7], **{column: [" a dog", "a cat", "a dog"]})
    found = open_captioned(str(file), ASKED)
    assert found.levels == (("a dog", "a cat", "a dog"),)
    assert _grays(found, [2, 0]) == [7, 5]
    assert len(found) == 3


def test_shards_with_lists_of_captions(tmp_path: Path) -> None:
    _parquet(tmp_path / "p" / "train-00000-of-00002.parquet", [1, 2], captions=[["a", "b"], ["c"]])
    _parquet(tmp_path / "p" / "train-00001-of-00002.parquet", [3], captions=[["d", "e"]])
    found = open_captioned(str(tmp_path / "p"), ASKED)
    assert found.levels == (("a", "c", "d"), ("b", "c", "e"))
    assert _grays(found, [0, 1, 2]) == [1, 2, 3]


def test_captions_of_two_splits_or_two_columns_are_refused(tmp_path: Path) -> None:
    _parquet(tmp_path / "p" / "train.parquet", [1], caption=["a"])
    _parquet(tmp_path / "p" / "test.parquet", [2], caption=["b"])
    with pytest.raises(InputError, match="more than one split: 'test', 'train'"):
        open_captioned(str(tmp_path / "p"), ASKED)
    file = _parquet(tmp_path / "two.parquet", [1], caption=["a"], text=["b"])
    with pytest.raises(InputError, match="2 caption columns, 'caption' and 'text'"):
        open_captioned(str(file), ASKED)


def test_an_empty_list_of_captions_is_refused(tmp_path: Path) -> None:
    file = _parquet(tmp_path / "a.parquet", [1, 2], captions=[["a"], []])
    with pytest.raises(InputError, match=r"row 1 of .* has an empty caption"):
        open_captioned(str(file), ASKED)


def test_labels_become_captions_in_each_template(tmp_path: Path) -> None:
    asked = replace(ASKED, templates=("a {}", "{}!"))
    found = open_captioned(str(_folders(tmp_path / "f")), asked)
    names = ["cat", "cat", "dog", "dog", "fox", "fox"]
    assert found.levels == (tuple(f"a {name}" for name in names), tuple(f"{name}!" for name in names))
    file = _parquet(tmp_path / "a.parquet", [1, 2], label=[1, 0])
    (tmp_path / "classnames.txt").write_text("sun\nmoon\n", encoding="utf-8")
    assert open_captioned(str(file), asked).levels == (("a moon", "a sun"), ("moon!", "sun!"))


def test_classes_can_be_left_out(tmp_path: Path) -> None:
    root = str(_folders(tmp_path / "f"))
    found = open_captioned(root, replace(ASKED, without={"classes": ("dog",)}))
    assert len(found) == 4
    assert found.levels == (tuple(f"a photo of a {name}." for name in ("cat", "cat", "fox", "fox")),)
    assert _grays(found, [0, 1, 2, 3]) == [0, 1, 20, 21]
    assert found.sha256 == open_captioned(root, ASKED).sha256


def test_what_cannot_be_left_out_is_refused(tmp_path: Path) -> None:
    root = str(_folders(tmp_path / "f"))
    with pytest.raises(InputError, match="'dgo' is not among the 3 class names") as caught:
        open_captioned(root, replace(ASKED, without={"classes": ("dgo",)}))
    assert "dog" in caught.value.hint
    with pytest.raises(InputError, match="cannot leave out designs"):
        open_captioned(root, replace(ASKED, without={"designs": ("line",)}))
    with pytest.raises(InputError, match=r"nothing of .* is left"):
        open_captioned(root, replace(ASKED, without={"classes": ("cat", "dog", "fox")}))
    table = _table(tmp_path / "t", "file_name,caption\nin/0.png,a\n")
    with pytest.raises(InputError, match="cannot leave out classes") as caught:
        open_captioned(str(table), replace(ASKED, without={"classes": ("a",)}))
    assert "has no names to leave out" in caught.value.hint


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_captioned(str(tmp_path / "none"), ASKED)


def test_images_with_captions_have_no_splits(tmp_path: Path) -> None:
    table = _table(tmp_path / "csv", "file_name,caption\nin/1.png,one\n")
    for source in (table, _parquet(tmp_path / "a.parquet", [1], text=["one"])):
        with pytest.raises(InputError, match="has no option 'split', as it is images with captions"):
            open_captioned(f"{source},split=train", ASKED)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 5), max_size=9), size=st.integers(1, 4))
def test_rows_come_in_the_order_that_they_are_asked_for(tmp_path: Path, rows: list[int], size: int) -> None:
    root = tmp_path / "f"
    found = open_captioned(str(root if root.exists() else _folders(root)), ASKED)
    assert _grays(found, rows, size) == [10 * (row // 2) + row % 2 for row in rows]


def test_a_prefix_names_an_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Made:
        source: str
        sha256: str = ""
        levels: tuple[tuple[str, ...], ...] = (("a",),)

        def __len__(self) -> int:
            return 1

        def in_order(self, rows: Tensor, size: int) -> Iterator[Images]:
            del rows, size
            yield torch.zeros(1, 3, 2, 2)

    monkeypatch.setitem(captions.OPENERS, "made:", lambda source, asked: Made(f"{source} {asked.workers}"))
    assert open_captioned("made:train", ASKED).source == "made:train 0"


def test_labelled_images_of_every_format_have_captions(tmp_path: Path) -> None:
    for gray in (1, 2):
        _image(tmp_path / f"{gray}.png", gray)
    (tmp_path / "list.csv").write_text("path,label\n2.png,dog\n1.png,cat\n")
    for source in (f"csv:{tmp_path / 'list.csv'}", str(tmp_path / "list.csv")):
        found = open_captioned(source, ASKED)
        assert found.levels == (("a photo of a dog.", "a photo of a cat."),)
        assert _grays(found, [0, 1]) == [2, 1]
