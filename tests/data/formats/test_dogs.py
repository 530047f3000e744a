from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from efface.errors import InputError
from tests.data.pictures import read, said, write

PATHS = (
    "n02085620-Chihuahua/n02085620_1.jpg",
    "n02085620-Chihuahua/n02085620_2.jpg",
    "n02086079-Toy_dog/n02086079_3.jpg",
)


def _dogs(root: Path, listed: tuple[str, ...] = PATHS[1:], place: str = "test_list.mat") -> Path:
    for gray, path in enumerate(PATHS):
        write(root / "Images" / path, gray)
    (root / place).parent.mkdir(exist_ok=True)
    # As it is published: cells of texts, one a row.
    savemat(root / place, {"file_list": np.array([[path] for path in listed], dtype=object)})
    return root


@pytest.mark.parametrize("place", ["test_list.mat", "lists/test_list.mat"])
def test_the_list_says_which_images(tmp_path: Path, place: str) -> None:
    root = _dogs(tmp_path, place=place)
    assert said(read(f"dogs:{root}")) == [(1, "Chihuahua"), (2, "Toy dog")]
    assert said(read(f"dogs:{_dogs(tmp_path, PATHS[:1], place)}")) == [(0, "Chihuahua")]


def test_all_images_need_no_list(tmp_path: Path) -> None:
    assert len(read(f"dogs:{_dogs(tmp_path)},split=all").labels) == 3


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = _dogs(tmp_path, ("n02085620-Chihuahua/none.jpg",))
    with pytest.raises(InputError, match="the list names 1 image not in"):
        read(f"dogs:{root}")
    with pytest.raises(InputError, match=r"has no train_list.mat"):
        read(f"dogs:{root},split=train")
    savemat(root / "test_list.mat", {"other": 1})
    with pytest.raises(InputError, match=r"test_list.mat' holds no file_list"):
        read(f"dogs:{root}")
    with pytest.raises(InputError, match="has no split 'val'"):
        read(f"dogs:{root},split=val")
