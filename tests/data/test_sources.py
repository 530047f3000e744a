"""Opening what a user names."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Features, Value
from PIL import Image

from efface.data.holdout import EvalData
from efface.data.images import Pixels
from efface.data.sources import open_source
from efface.errors import EffaceWarning, InputError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def _to_tensor(image: Image.Image) -> Pixels:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def _png(gray: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2), gray).save(file, "PNG")
    return file.getvalue()


def _parquet(path: Path, labels: list[int | None], names: list[str] | None = None) -> None:
    """Gray values are 10 times the label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = ClassLabel(names=names) if names else Value("int64")
    cells: list[dict[str, Any]] = [{"bytes": _png(10 * (row or 0)), "path": None} for row in labels]
    features = Features({"image": datasets.Image(), "label": label})
    datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features).to_parquet(path)


def _folders(folder: Path, **grays: list[int]) -> None:
    for name, values in grays.items():
        (folder / name).mkdir(parents=True)
        for value in values:
            (folder / name / f"{value}.png").write_bytes(_png(value))


def _open(path: Path) -> EvalData:
    return open_source(str(path), preprocess=_to_tensor)


def _content(data: EvalData) -> list[tuple[int, str]]:
    return [
        (round(float(pixels[0, 0, 0]) * 255), data.class_names[label])
        for images, labels in data.images.batches(2)
        for pixels, label in zip(images, labels.tolist(), strict=True)
    ]


def test_a_parquet_file_opens(tmp_path: Path) -> None:
    file = tmp_path / "test.parquet"
    _parquet(file, [1, 0, 1], ["cat", "dog"])
    data = _open(file)
    assert data.source == str(file)
    assert _content(data) == [(10, "dog"), (0, "cat"), (10, "dog")]
    assert data.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("names", [("test-00000-of-00002", "test-00001-of-00002"), ("0000", "0001")])
def test_a_folder_of_shards_opens_in_the_order_of_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    _parquet(tmp_path / f"{names[1]}.parquet", [1], ["cat", "dog"])
    _parquet(tmp_path / f"{names[0]}.parquet", [0, 0], ["cat", "dog"])
    data = _open(tmp_path)
    assert _content(data) == [(0, "cat"), (0, "cat"), (10, "dog")]
    digests = [hashlib.sha256((tmp_path / f"{name}.parquet").read_bytes()).hexdigest() for name in names]
    printed = "".join(f"{digest}  {name}.parquet\n" for name, digest in zip(names, digests, strict=True))
    assert data.sha256 == hashlib.sha256(printed.encode()).hexdigest()


def test_class_folders_open_in_sorted_order(tmp_path: Path) -> None:
    _folders(tmp_path, dog=[3, 4], cat=[5])
    data = _open(tmp_path)
    assert _content(data) == [(5, "cat"), (3, "dog"), (4, "dog")]
    lines = [f"{hashlib.sha256(_png(n)).hexdigest()}  {path}\n" for n, path in ((5, "cat/5.png"), (3, "dog/3.png"))]
    lines.append(f"{hashlib.sha256(_png(4)).hexdigest()}  dog/4.png\n")
    assert data.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_file_of_class_names_wins_beside_a_parquet_file(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", [0, 1], ["n01", "n02"])
    (tmp_path / "classnames.txt").write_text("tench\ngoldfish\n")
    assert _open(tmp_path / "a.parquet").class_names == ("tench", "goldfish")
    assert _open(tmp_path).class_names == ("tench", "goldfish")


def test_a_file_of_class_names_wins_over_folder_names(tmp_path: Path) -> None:
    _folders(tmp_path, n01=[1], n02=[2])
    plain = _open(tmp_path)
    (tmp_path / "classnames.txt").write_text("tench\ngoldfish\n")
    named = _open(tmp_path)
    assert (plain.class_names, named.class_names) == (("n01", "n02"), ("tench", "goldfish"))
    assert named.sha256 == plain.sha256


def test_a_file_of_class_names_serves_plain_labels(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", [2, 0])
    (tmp_path / "classnames.txt").write_text("a\nb\nc\n")
    assert _content(_open(tmp_path / "a.parquet")) == [(20, "c"), (0, "a")]


def test_the_number_of_workers_is_passed_on(tmp_path: Path) -> None:
    _folders(tmp_path, a=[1])
    images = open_source(str(tmp_path), preprocess=_to_tensor, workers=3).images
    assert getattr(images, "workers", None) == 3


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _nothing(folder: Path) -> Path:
    _parquet(folder / "validation.parquet", [0], ["a"])
    return folder / "validatoin.parquet"


def _empty(folder: Path) -> Path:
    (folder / "a").mkdir()
    (folder / "a/readme.txt").touch()
    return folder


def _two_splits(folder: Path) -> Path:
    _parquet(folder / "train.parquet", [0], ["a"])
    _parquet(folder / "test-00000-of-00001.parquet", [0], ["a"])
    return folder


def _both(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0], ["a"])
    _folders(folder, a=[0])
    return folder


def _nameless(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0])
    return folder / "a.parquet"


def _folder(folder: Path) -> Path:
    _folders(folder, a=[0], b=[1])
    return folder


def _table(folder: Path) -> Path:
    _folders(folder, a=[0], b=[1])
    (folder / "list.csv").write_text("path,label,split\na/0.png,a,train\nb/1.png,b,test\n")
    return folder / "list.csv"


def _unlabelled(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0, None, -1], ["a", "b"])
    return folder / "a.parquet"


def _labels_beyond(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0, 2])
    (folder / "classnames.txt").write_text("a\nb\n")
    return folder / "a.parquet"


def _labels_below(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0, -2])
    (folder / "classnames.txt").write_text("a\nb\n")
    return folder / "a.parquet"


def _too_few_names(folder: Path) -> Path:
    _folders(folder, a=[0], b=[1])
    (folder / "classnames.txt").write_text("a\n")
    return folder


def _other_order(folder: Path) -> Path:
    _parquet(folder / "a.parquet", [0, 1], ["cat", "dog"])
    (folder / "classnames.txt").write_text("dog\ncat\n")
    return folder / "a.parquet"


def test_a_name_of_two_classes_is_told_and_cannot_be_asked_for(tmp_path: Path) -> None:
    _folders(tmp_path, a=[0], b=[1], c=[2])
    (tmp_path / "classnames.txt").write_text("x\nx\ny\n")
    with pytest.warns(EffaceWarning, match=r"each of these class names means several classes.*: 'x'$"):
        data = _open(tmp_path)
    assert _content(data) == [(0, "x"), (1, "x"), (2, "y")]
    assert data.class_of("y") == 2
    with pytest.raises(InputError, match="has several classes called 'x'"):
        data.has_images_of("x")


def test_names_that_differ_in_capitals_alone_are_told(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.png,Sea_Lion\nb.png,sea lion\nb.png,fox\n")
    for gray, name in enumerate("ab"):
        (tmp_path / f"{name}.png").write_bytes(_png(gray))
    with pytest.warns(EffaceWarning, match=r"differ in capitals or underscores alone: 'Sea_Lion', 'sea lion'$"):
        assert _open(tmp_path / "list.csv").class_names == ("Sea_Lion", "fox", "sea lion")


def _not_parquet(folder: Path) -> Path:
    (folder / "a.zip").write_bytes(b"PK")
    return folder / "a.zip"


@pytest.mark.parametrize(
    ("make", "problem", "hint"),
    [
        (_nothing, "validatoin.parquet' does not exist", "validation.parquet'? give a parquet file, a"),
        (_empty, "holds neither parquet files nor folders of images", "give a parquet file, a folder of"),
        (_two_splits, "holds parquet files of more than one split: 'test', 'train'", "give one file, such as"),
        (_both, "holds both parquet files and folders of images", "write parquet:"),
        (_nameless, "has labels but no class names", "classnames.txt', one a line in label order"),
        (_unlabelled, "2 of the 3 rows of", "give a split with labels"),
        (_labels_beyond, "lie between 0 and 2, but there are 2 class names", "counted from 0"),
        (_labels_below, "lie between -2 and 0, but there are 2 class names", "counted from 0"),
        (_too_few_names, "has 1 class names, but the images have 2 classes", "in the order of 'a', 'b'"),
        (_other_order, "has the class names in another order than the images' labels", "start it with 'cat', 'dog'"),
        (_not_parquet, "a.zip' is no parquet file", "give a parquet file"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_what_is_right(
    tmp_path: Path, make: Callable[[Path], Path], problem: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        _open(make(tmp_path))
    assert problem in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("make", [_folder, _table, _nameless])
def test_a_split_that_a_recognized_format_has_not_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError, match="has no option 'split', as it is ") as caught:
        open_source(f"{make(tmp_path)},split=train", preprocess=_to_tensor)
    assert caught.value.hint == "leave out ,split=train; of held-out images --eval-where COLUMN=VALUE takes some"


def test_a_broken_image_late_in_the_data_is_named_when_it_comes(tmp_path: Path) -> None:
    _folders(tmp_path, a=[1, 2], b=[3])
    (tmp_path / "b/9.png").write_bytes(_png(9)[:30])
    batches = _open(tmp_path).images.batches(3)
    next(batches)
    with pytest.raises(InputError, match=r"the image 'b/9.png' in '.*' cannot be decoded") as caught:
        next(batches)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.natural
def test_cifar10_opens_with_its_names(natural: Path) -> None:
    data = _open(natural / "data/cifar10/test.parquet")
    assert len(data.images) == len(data.images.labels) == 10_000
    assert data.class_names == CIFAR10
    assert data.images.labels.bincount().tolist() == [1000] * 10
    images, labels = next(data.images.batches(8, rng=torch.Generator().manual_seed(0)))
    assert (images.shape, labels.shape) == ((8, 3, 32, 32), (8,))
