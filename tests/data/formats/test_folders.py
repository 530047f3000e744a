"""Folders with one folder of images a class."""

from pathlib import Path

import pytest

from efface.data.decoding import endings
from efface.data.files import sha256_of
from efface.data.formats import Given
from efface.data.formats.folders import ImageFiles, has_class_folders, read, read_class_folders
from efface.data.images import EncodedImages
from efface.errors import EffaceWarning, InputError


def _touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def test_image_files_are_encoded_images(tmp_path: Path) -> None:
    rows: EncodedImages = ImageFiles(tmp_path, ("a/1.png",))
    assert (len(rows), rows[0].content) == (1, tmp_path / "a/1.png")
    assert rows[0].name == f"the image 'a/1.png' in {str(tmp_path)!r}"


def test_labels_follow_the_sorted_folder_names(tmp_path: Path) -> None:
    _touch(tmp_path, "dog/2.png", "dog/1.png", "Cat/x.jpg", "ant/deep/down/y.webp", "ant/z.bmp")
    stored = read_class_folders(tmp_path)
    assert stored.class_names == ("Cat", "ant", "dog")
    assert stored.labels.tolist() == [0, 1, 1, 2, 2]
    paths = ["Cat/x.jpg", "ant/deep/down/y.webp", "ant/z.bmp", "dog/1.png", "dog/2.png"]
    assert [stored.rows[row].content for row in range(len(stored.rows))] == [tmp_path / path for path in paths]
    assert stored.digests == {path: sha256_of(tmp_path / path) for path in paths}


def test_endings_count_in_upper_and_lower_case(tmp_path: Path) -> None:
    suffixes = endings()
    _touch(tmp_path, *(f"a/1{suffix}" for suffix in suffixes), *(f"a/2{suffix.upper()}" for suffix in suffixes))
    assert len(read_class_folders(tmp_path).rows) == 2 * len(suffixes)


def test_hidden_files_and_metadata_are_ignored(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png", "a/.2.png", "a/.thumbs/3.png", ".git/4.png", "a/notes.txt")
    _touch(tmp_path, "classnames.txt", "templates.json", "README.md", "list.CSV", ".DS_Store")
    assert list(read_class_folders(tmp_path).digests) == ["a/1.png"]


def test_other_files_are_counted_by_their_endings(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png", "a/2.HEIC", "a/in/3.heic", "a/4.jpg.part", "a/5", "6.png", "notes.md")
    with pytest.warns(
        EffaceWarning, match=r"are left aside: 2 \.heic, 1 \.part, 1 without an ending, 1 \.png in no class folder$"
    ):
        assert list(read_class_folders(tmp_path).digests) == ["a/1.png"]


@pytest.mark.parametrize("target", ["..", ".", "../..", "../../elsewhere"])
def test_a_link_to_a_folder_that_it_lies_in_is_refused(tmp_path: Path, target: str) -> None:
    _touch(tmp_path, "data/cat/1.png", "data/dog/1.png")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
    loop = tmp_path / "data/cat/loop"
    loop.symlink_to(target)
    with pytest.raises(InputError, match=r"the link '.*/data/cat/loop' leads to '.*', which it lies in itself"):
        read_class_folders(tmp_path / "data")
    loop.unlink()
    (tmp_path / "data/self").symlink_to(".")
    with pytest.raises(InputError, match=r"the link '.*/data/self' leads to"):
        read_class_folders(tmp_path / "data")


def test_a_loop_over_a_link_elsewhere_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "data/cat/1.png", "more/2.png")
    (tmp_path / "data/cat/more").symlink_to(tmp_path / "more")
    (tmp_path / "more/back").symlink_to(tmp_path / "data/cat")
    with pytest.raises(InputError, match=r"the link '.*/data/cat/more/back' leads to '.*/data/cat'"):
        read_class_folders(tmp_path / "data")


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "elsewhere/1.png", "data/a/1.png")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/more").symlink_to(tmp_path / "elsewhere")
    assert list(read_class_folders(tmp_path / "data").digests) == ["a/1.png", "a/more/1.png", "b/1.png"]


def test_class_folders_without_an_image_are_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png", "b/1.svg", "c/.1.png")
    with pytest.raises(InputError, match=r"no image in these class folders of '.*': 'b', 'c'$") as caught:
        read_class_folders(tmp_path)
    assert ".jpg, .png" in caught.value.hint


@pytest.mark.parametrize(
    ("paths", "hint"),
    [
        (["train/cat/1.png", "val/cat/1.png"], "give one of them, such as '{}/train'; "),
        (["Train/cat/1.png", "Train/dog/1.png", "Test/1.png"], "give one of them, such as '{}/Train'; "),
        (["train/1.png", "test/1.png"], ""),
    ],
)
def test_splits_are_no_classes_unless_they_are_called_so(tmp_path: Path, paths: list[str], hint: str) -> None:
    _touch(tmp_path, *paths)
    with pytest.raises(InputError, match="holds splits: ") as caught:
        read(Given(str(tmp_path), "", str(tmp_path)))
    assert caught.value.hint == f"{hint.format(tmp_path)}folders:{tmp_path} takes them as classes"
    assert read(Given("", "folders", str(tmp_path))).class_names == tuple(sorted({p.split("/")[0] for p in paths}))


@pytest.mark.parametrize(("paths", "expected"), [(["a/1.png"], True), (["a/1.txt", "2.png", ".b/3.png"], False)])
def test_only_images_in_folders_make_class_folders(tmp_path: Path, paths: list[str], expected: bool) -> None:
    _touch(tmp_path, *paths)
    assert has_class_folders(tmp_path) is expected
