"""Data sets that torchvision knows, in the folders that it makes: ``cifar10:ROOT,split=train``.

Nothing is downloaded: torchvision does that when asked, by ``CIFAR10(root, download=True)``. It checks what it reads
against the digests that it carries, those of CIFAR's pickles among them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torchvision import datasets

from efface.data.decoding import Encoded
from efface.data.files import sha256_of
from efface.data.formats import Given
from efface.data.formats.folders import ImageFiles
from efface.data.formats.matlab import need_scipy
from efface.data.images import EncodedImages, Stored
from efface.errors import InputError, offer


@dataclass(frozen=True, slots=True)
class ArrayImages:
    """Images that torchvision holds as pixels, by row.

    Attributes:
        pixels: an image a row, height x width x 3, uint8.
        source: as the user gave it.
    """

    pixels: Any
    source: str

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> Encoded:
        return Encoded(f"row {row} of {self.source!r}", Image.fromarray(self.pixels[row]))


@dataclass(frozen=True, slots=True)
class Known:
    """How torchvision names a data set, and where it keeps what it found.

    Attributes:
        name: of its class.
        arguments: from each split to what the class is called with.
        found: from its object to images (paths or pixels), labels and class names.
        needs_scipy: whether its lists are MATLAB files.
        labels: from each split to the file, below the root, that says the labels of images in files; none where their
            paths say them.
        folder: below the root, what must be there before torchvision is asked, which makes folders where it is not.
    """

    name: str
    arguments: Mapping[str, Mapping[str, Any]]
    found: Callable[[Any], tuple[Any, Sequence[int], Sequence[str]]]
    needs_scipy: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


def _splits(*names: str) -> Mapping[str, Mapping[str, str]]:
    return {name: {"split": name} for name in names}


def _caltech(found: Any) -> tuple[list[Path], Sequence[int], Sequence[str]]:
    folder = Path(found.root) / "101_ObjectCategories"
    rows = zip(found.y, found.index, strict=True)
    return [folder / found.categories[y] / f"image_{i:04d}.jpg" for y, i in rows], found.y, found.categories


_TRAIN_TEST: Mapping[str, Mapping[str, bool]] = {"train": {"train": True}, "test": {"train": False}}
# torchvision says neither paths nor labels in the open; these attributes stand unchanged since the sets are in it.
KNOWN: Mapping[str, Known] = MappingProxyType(
    {
        "cifar10": Known("CIFAR10", _TRAIN_TEST, lambda d: (d.data, d.targets, d.classes)),
        "cifar100": Known("CIFAR100", _TRAIN_TEST, lambda d: (d.data, d.targets, d.classes)),
        "stl10": Known(
            "STL10", _splits("train", "test"), lambda d: (d.data.transpose(0, 2, 3, 1), d.labels.tolist(), d.classes)
        ),
        "food101": Known("Food101", _splits("train", "test"), lambda d: (d._image_files, d._labels, d.classes)),
        "pets": Known(
            "OxfordIIITPet",
            _splits("trainval", "test"),
            lambda d: (d._images, d._labels, d.classes),
            labels={split: f"oxford-iiit-pet/annotations/{split}.txt" for split in ("trainval", "test")},
        ),
        "flowers": Known(
            "Flowers102",
            _splits("train", "val", "test"),
            lambda d: (d._image_files, d._labels, d.classes),
            needs_scipy=True,
            labels=dict.fromkeys(("train", "val", "test"), "flowers-102/imagelabels.mat"),
        ),
        "cars": Known(
            "StanfordCars",
            _splits("train", "test"),
            lambda d: (*zip(*d._samples, strict=True), d.classes),
            needs_scipy=True,
            labels={
                "train": "stanford_cars/devkit/cars_train_annos.mat",
                "test": "stanford_cars/cars_test_annos_withlabels.mat",
            },
        ),
        "caltech101": Known("Caltech101", {"all": {}}, _caltech, folder="caltech101/101_ObjectCategories"),
    }
)


def read(given: Given) -> Stored:
    """The images of a split, ``test`` where none is named; Caltech101 has no splits.

    ROOT is what torchvision calls ``root``. Underscores in class names stand for spaces.

    Raises:
        InputError: If there is no such split, the files are not there or not whole, or scipy is needed and not there.
    """
    known = KNOWN[given.prefix]
    split = given.options.get("split", "test" if "test" in known.arguments else "all")
    if split not in known.arguments:
        raise InputError(f"{given.source!r} has no split {split!r}", hint=offer(split, known.arguments))
    if known.needs_scipy:
        need_scipy(given.source)
    try:
        if not (given.path / known.folder).is_dir():
            raise FileNotFoundError(f"there is no folder {known.folder}")
        opened = getattr(datasets, known.name)(str(given.path), **known.arguments[split])
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{given.source!r}: torchvision does not find its {known.name} whole in {str(given.path)!r}: {error}",
            hint=f"torchvision.datasets.{known.name}({given.place!r}, download=True) fetches what can be fetched",
        ) from None
    images, labels, names = known.found(opened)
    is_files = isinstance(images, list | tuple)
    rows: EncodedImages = _files(given.path, images) if is_files else ArrayImages(images, given.source)
    return Stored(
        rows=rows,
        labels=torch.tensor([int(label) for label in labels]),
        class_names=tuple(name.replace("_", " ") for name in names),
        digests=_digests(given.path, rows, opened, split) | _digest_of_labels(given.path, known, split),
        home=given.path,
    )


def _files(root: Path, paths: Sequence[str | Path]) -> ImageFiles:
    return ImageFiles(root, tuple(Path(path).relative_to(root).as_posix() for path in paths))


def _digests(root: Path, rows: EncodedImages, opened: Any, split: str) -> dict[str, str]:
    if isinstance(rows, ImageFiles):
        return {path: sha256_of(root / path) for path in rows.paths if (root / path).is_file()}
    listed = opened.train_list if split == "train" else opened.test_list
    names = [f"{opened.base_folder}/{name}" for name, _ in listed]
    return {name: sha256_of(root / name) for name in names if not name.endswith("unlabeled_X.bin")}


def _digest_of_labels(root: Path, known: Known, split: str) -> dict[str, str]:
    file = known.labels.get(split)
    return {} if file is None else {file: sha256_of(root / file)}
