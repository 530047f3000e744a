"""The data sets that torchvision knows, on tiny folders in the layouts that they are unpacked to."""

from pathlib import Path

import numpy as np
import pytest

from efface.data.files import sha256_of
from efface.data.formats.torchvision_sets import KNOWN
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, grays, read, said
from tests.data.torchvision_layouts import LAYOUTS, accept_any_digest


@pytest.fixture(autouse=True)
def _own_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_any_digest(monkeypatch)


def test_every_set_has_a_layout_here() -> None:
    assert set(LAYOUTS) == set(KNOWN)


@pytest.mark.parametrize("prefix", LAYOUTS)
def test_the_held_out_images_open_with_their_names(tmp_path: Path, prefix: str) -> None:
    make, expected = LAYOUTS[prefix]
    make(tmp_path)
    found = read(f"{prefix}:{tmp_path}")
    assert said(found) == expected
    assert found.digests
    data = open_source(f"{prefix}:{tmp_path}", preprocess=as_tensor)
    assert [label for _, labels in data.images.batches(1) for label in labels.tolist()] == found.labels.tolist()


@pytest.mark.parametrize("prefix", [name for name in LAYOUTS if name not in ("caltech101", "pets")])
def test_the_training_images_open_by_their_split(tmp_path: Path, prefix: str) -> None:
    LAYOUTS[prefix][0](tmp_path)
    found = read(f"{prefix}:{tmp_path},split=train")
    assert len(found.labels) == len(grays(found.rows)) > 0


@pytest.mark.parametrize(
    ("prefix", "file"),
    [
        ("cars", "stanford_cars/cars_test_annos_withlabels.mat"),
        ("flowers", "flowers-102/imagelabels.mat"),
        ("pets", "oxford-iiit-pet/annotations/test.txt"),
        ("stl10", "stl10_binary/test_y.bin"),
    ],
)
def test_the_digest_is_of_the_labels_too(tmp_path: Path, prefix: str, file: str) -> None:
    LAYOUTS[prefix][0](tmp_path)
    assert read(f"{prefix}:{tmp_path}").digests[file] == sha256_of(tmp_path / file)


def test_pixels_of_stl10_are_not_turned(tmp_path: Path) -> None:
    LAYOUTS["stl10"][0](tmp_path)
    image = read(f"stl10:{tmp_path}").rows[0].content
    assert np.asarray(image)[0, 5].tolist() == [200, 200, 200]
    assert np.asarray(image)[5, 0].tolist() == [8, 8, 8]


@pytest.mark.parametrize("prefix", LAYOUTS)
def test_what_is_not_there_is_not_downloaded(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(InputError, match="does not find its") as caught:
        read(f"{prefix}:{tmp_path}")
    assert "download=True" in caught.value.hint
    assert list(tmp_path.rglob("*")) == []


def test_a_split_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no split 'val'") as caught:
        read(f"cifar10:{tmp_path},split=val")
    assert caught.value.hint == "there are train, test"


def test_of_a_file_that_is_not_whole_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS["cifar10"][0](tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: False)
    with pytest.raises(InputError, match="not found or corrupted"):
        read(f"cifar10:{tmp_path}")
