"""Tiny data sets in the layouts that torchvision unpacks the published ones to."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from tests.data.pictures import write


def accept_any_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """These files are not the published ones, whose digests torchvision knows."""

    def there(path: str, md5: str | None = None) -> bool:
        del md5
        return Path(path).exists()

    for module in ("cifar", "stl10", "flowers102"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", there)


def _pickle(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(document))


def _rows(*values: int) -> np.ndarray:
    return np.stack([np.full(3072, value, dtype=np.uint8) for value in values])


def _cifar10(root: Path) -> None:
    base = root / datasets.CIFAR10.base_folder
    for index in range(1, 6):
        _pickle(base / f"data_batch_{index}", {"data": _rows(index), "labels": [0]})
    _pickle(base / "test_batch", {"data": _rows(8, 9), "labels": [1, 0]})
    _pickle(base / "batches.meta", {"label_names": ["cat", "sea_lion"]})


def _cifar100(root: Path) -> None:
    base = root / datasets.CIFAR100.base_folder
    for name, rows in (("train", _rows(1)), ("test", _rows(8, 9))):
        _pickle(base / name, {"data": rows, "fine_labels": [1, 0][: len(rows)]})
    _pickle(base / "meta", {"fine_label_names": ["cat", "sea_lion"]})


def _stl10(root: Path) -> None:
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    for name, grays_ in (("train", [1]), ("test", [8, 9]), ("unlabeled", [3])):
        # Column after column: the brighter pixel is in the sixth column and the first row.
        pixels = np.stack([np.full((3, 96, 96), gray, dtype=np.uint8) for gray in grays_])
        pixels[:, :, 5, 0] = 200
        (base / f"{name}_X.bin").write_bytes(pixels.tobytes())
        (base / f"{name}_y.bin").write_bytes(bytes([2, 1][: len(grays_)]))
    (base / "class_names.txt").write_text("cat\nsea_lion\n")


def _food101(root: Path) -> None:
    paths = {"cat": ["cat/9"], "sea_lion": ["sea_lion/8"]}
    (root / "food-101" / "meta").mkdir(parents=True)
    for split in ("train", "test"):
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(dict(reversed(paths.items()))))
    for names in paths.values():
        for name in names:
            write(root / "food-101" / "images" / f"{name}.jpg", int(name[-1]))


def _pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    (base / "annotations" / "test.txt").write_text("sea_lion_8 2 1 1\ncat_9 1 2 1\n")
    (base / "annotations" / "trainval.txt").write_text("cat_9 1 2 1\n")
    for name in ("sea_lion_8", "cat_9"):
        write(base / "images" / f"{name}.jpg", int(name[-1]))


def _flowers(root: Path) -> None:
    base = root / "flowers-102"
    for number in (1, 2, 3):
        write(base / "jpg" / f"image_{number:05d}.jpg", 10 - number)
    savemat(base / "imagelabels.mat", {"labels": [[1, 2, 3]]})
    savemat(base / "setid.mat", {"trnid": [[3, 3]], "valid": [[3, 3]], "tstid": [[2, 1]]})


def _cars(root: Path) -> None:
    base = root / "stanford_cars"
    fields = [("fname", object), ("class", int)]
    for name, gray in (("a.jpg", 8), ("b.jpg", 9)):
        write(base / "cars_test" / name, gray)
        write(base / "cars_train" / name, gray)
    (base / "devkit").mkdir()
    rows = {"annotations": np.array([("a.jpg", 2), ("b.jpg", 1)], dtype=fields)}
    savemat(base / "cars_test_annos_withlabels.mat", rows)
    savemat(base / "devkit" / "cars_train_annos.mat", rows)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(["cat", "sea_lion"], dtype=object)})


def _caltech101(root: Path) -> None:
    base = root / "caltech101" / "101_ObjectCategories"
    write(base / "sea_lion" / "image_0001.jpg", 8)
    write(base / "cat" / "image_0001.jpg", 9)
    write(base / "BACKGROUND_Google" / "image_0001.jpg", 1)


NAMED = [(8, "sea lion"), (9, "cat")]
LAYOUTS: dict[str, tuple[Callable[[Path], None], list[tuple[int, str]]]] = {
    "cifar10": (_cifar10, NAMED),
    "cifar100": (_cifar100, [(8, "sea lion"), (9, "cat")]),
    "stl10": (_stl10, NAMED),
    "food101": (_food101, NAMED),
    "pets": (_pets, [(8, "Sea Lion"), (9, "Cat")]),
    # Their names are torchvision's own: the first two of its list.
    "flowers": (_flowers, [(8, "hard-leaved pocket orchid"), (9, "pink primrose")]),
    "cars": (_cars, NAMED),
    "caltech101": (_caltech101, NAMED[::-1]),
}
