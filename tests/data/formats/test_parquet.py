"""Parquet files, as datasets writes them and as others do."""

import io
import os
import socket
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Features, Value
from PIL import Image

from efface.data.decoding import decode
from efface.data.files import sha256_of
from efface.data.formats.columns import TableRows
from efface.data.formats.parquet import read_parquet
from efface.data.images import EncodedImages
from efface.errors import InputError

PLAIN = {"bytes": Value("binary"), "path": Value("string")}
NUMBER = Value("int64")
NAMED = ClassLabel(names=["p", "q"])
LABELLED = {"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _png(gray: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2), gray).save(file, "PNG")
    return file.getvalue()


def _cells(*grays: int) -> list[dict[str, Any]]:
    return [{"bytes": _png(gray), "path": None} for gray in grays]


def _write(path: Path, features: dict[str, Any], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=Features(features)).to_parquet(path)
    return path


def _grays(rows: EncodedImages) -> list[int]:
    return [decode(rows[row]).tobytes()[0] for row in range(len(rows))]


def test_images_labels_and_names_come_as_they_were_written(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=_cells(5, 6, 7), label=[1, 0, 1])
    stored = read_parquet([file], source="here")
    rows: EncodedImages = stored.rows
    assert _grays(rows) == [5, 6, 7]
    assert stored.labels.tolist() == [1, 0, 1]
    assert stored.class_names == ("cat", "dog")
    assert stored.digests == {"a.parquet": sha256_of(file)}


def test_shards_come_one_after_the_other(tmp_path: Path) -> None:
    files = [
        _write(tmp_path / "0.parquet", LABELLED, image=_cells(1, 2), label=[0, 1]),
        _write(tmp_path / "1.parquet", LABELLED, image=_cells(3), label=[0]),
    ]
    stored = read_parquet(files, source="here")
    assert _grays(stored.rows) == [1, 2, 3]
    assert stored.labels.tolist() == [0, 1, 0]
    assert stored.rows[2].name == "row 2 of 'here'"


def test_a_file_without_the_metadata_of_datasets_has_no_class_names(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    features = Features({"picture": PLAIN, "labels": Value("int32")})
    table = datasets.Dataset.from_dict({"picture": _cells(8, 9), "labels": [3, 4]}, features=features).data.table
    datasets.io.parquet.pq.write_table(table.replace_schema_metadata(None), file)
    stored = read_parquet([file], source="here")
    assert _grays(stored.rows) == [8, 9]
    assert (stored.labels.tolist(), stored.class_names) == ([3, 4], None)


def test_a_row_may_hold_a_path_instead_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "beside.png").write_bytes(_png(4))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/far.png").write_bytes(_png(5))
    cells = [
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": str(tmp_path / "elsewhere/far.png")},
        {"bytes": _png(6), "path": "not_there.png"},
    ]
    file = _write(tmp_path / "a.parquet", {**LABELLED, "image": PLAIN}, image=cells, label=[0, 1, 0])
    rows = read_parquet([file], source="here").rows
    assert _grays(rows) == [4, 5, 6]
    assert rows[0].name == "row 0 ('beside.png') of 'here'"


def test_a_row_without_an_image_fails_when_it_is_decoded(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=[None, *_cells(1)], label=[0, 1])
    rows = read_parquet([file], source="here").rows
    assert rows[0].content is None
    assert rows[1].content == _png(1)


def test_a_missing_label_is_minus_one(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=_cells(1, 2, 3), label=[None, -1, 1])
    assert read_parquet([file], source="here").labels.tolist() == [-1, -1, 1]


def test_of_two_label_columns_the_known_name_wins(tmp_path: Path) -> None:
    names = {"coarse_label": ClassLabel(names=["x"]), "fine_label": ClassLabel(names=["y", "z"])}
    file = _write(
        tmp_path / "a.parquet", {"img": datasets.Image(), **names}, img=_cells(1), coarse_label=[0], fine_label=[1]
    )
    stored = read_parquet([file], source="here")
    assert (stored.labels.tolist(), stored.class_names) == ([1], ("y", "z"))


@pytest.mark.parametrize(
    ("features", "problem", "hint"),
    [
        ({"a": NUMBER, "label": NUMBER}, "no image column; its columns are a (int64), label (int64)", "Image"),
        ({"a": PLAIN, "b": PLAIN, "label": NUMBER}, "2 image columns, 'a' and 'b'; its columns are a (struct", "Image"),
        ({"a": PLAIN, "c": NUMBER}, "no label column; its columns are a (struct of bytes, path), c", "ClassLabel"),
        ({"a": PLAIN, "label": Value("string")}, "no label column", "ClassLabel"),
        ({"a": PLAIN, "x": NAMED, "y": NAMED}, "2 label columns, 'x' and 'y'; its columns are a (str", "ClassLabel"),
        ({"a": PLAIN, "label": NUMBER, "labels": NUMBER}, "2 label columns, 'label' and 'labels'", "ClassLabel"),
    ],
)
def test_columns_that_are_not_plain_are_listed(
    tmp_path: Path, features: dict[str, Any], problem: str, hint: str
) -> None:
    file = _write(tmp_path / "a.parquet", features, **{name: [None] for name in features})
    with pytest.raises(InputError) as caught:
        read_parquet([file], source="here")
    assert str(caught.value).startswith(f"'here' has {problem}")
    assert f"one column of type {hint}" in caught.value.hint


@pytest.mark.parametrize(
    "other", [{**LABELLED, "label": ClassLabel(names=["dog", "cat"])}, {**LABELLED, "label": Value("int64")}]
)
def test_shards_with_other_class_names_or_columns_are_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    files = [
        _write(tmp_path / "0.parquet", LABELLED, image=_cells(1), label=[0]),
        _write(tmp_path / "1.parquet", other, image=_cells(1), label=[0]),
    ]
    with pytest.raises(InputError, match=r"'1.parquet' in 'here' has other columns or class names than '0.parquet'"):
        read_parquet(files, source="here")


@pytest.mark.parametrize("content", [b"", b"image,label\n", b"PK\x03\x04"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"a.parquet' is no parquet file$") as caught:
        read_parquet([tmp_path / "a.parquet"], source="here")
    assert caught.value.hint.startswith("give a parquet file")


def test_a_cut_file_is_named_and_nothing_else_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=_cells(1), label=[0])
    file.write_bytes(file.read_bytes()[:-5])
    capfd.readouterr()
    with pytest.raises(InputError, match=r"a.parquet' cannot be read: it does not end as a parquet file does"):
        read_parquet([file], source="here")
    assert capfd.readouterr() == ("", "")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=[], label=[])
    with pytest.raises(InputError, match=r"a.parquet' holds no row"):
        read_parquet([file], source="here")


def test_a_file_replaced_under_its_old_time_is_read_anew(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=_cells(1), label=[0])
    before = file.stat()
    assert _grays(read_parquet([file], source="here").rows) == [1]
    _write(file, LABELLED, image=_cells(2), label=[0])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _grays(read_parquet([file], source="here").rows) == [2]


def test_signs_of_a_pattern_in_a_path_are_taken_as_they_are(tmp_path: Path) -> None:
    file = _write(tmp_path / "run[1] *?" / "a.parquet", LABELLED, image=_cells(1), label=[0])
    _write(tmp_path / "run1 xx" / "a.parquet", LABELLED, image=_cells(2), label=[0])
    assert _grays(read_parquet([file], source="here").rows) == [1]


def test_nothing_is_sent_shown_or_left_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=_cells(1), label=[0])
    capfd.readouterr()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))
    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    read_parquet([file], source="here")
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before
    assert asked == []
    assert capfd.readouterr() == ("", "")


def test_images_stay_undecoded_in_the_table(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.parquet", LABELLED, image=[{"bytes": b"broken", "path": None}], label=[0])
    rows = read_parquet([file], source="here").rows
    assert isinstance(rows, TableRows)
    assert rows.table.cache_files
    assert rows[0].content == b"broken"
