"""A disk that is full, by a limit on the size of files: what a library makes of it, and what is left."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from efface.errors import InputError
from efface.pretraining.checkpoints import save_checkpoint
from efface.pretraining.towers import write_initial
from efface.pretraining.vocabulary import word_tokenizer
from efface.whole import clear_leftovers, written_whole
from tests.disk import full_after, tree
from tests.pretraining.recipes import tiny_recipe


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_file({"a": torch.zeros(10**5)}, path),
        lambda path: path.write_bytes(b"x" * 10**5),
        lambda path: word_tokenizer(map(str, range(9999)), context=4).save_pretrained(path),
    ],
)
def test_every_library_says_the_same_of_a_full_disk(tmp_path: Path, write: Callable[[Path], None]) -> None:
    place = tmp_path / "place"
    place.write_text("before", encoding="utf-8")
    with full_after(20000), pytest.raises(OSError) as caught, written_whole(place) as partial:  # noqa: PT011
        write(partial)
    assert caught.value.errno == errno.EFBIG
    assert tree(tmp_path) == {"place": b"before"}


def test_a_folder_that_is_named_by_dots_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dots in (".", "sub/.."):
        (tmp_path / "run" / "sub").mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / "run")
        with written_whole(Path(dots)) as partial:
            partial.mkdir()
            (partial / "new").touch()
        monkeypatch.chdir(tmp_path)
        assert tree(tmp_path) == {"run": None, "run/new": b""}


def test_a_full_disk_is_not_the_fault_of_the_configuration(tmp_path: Path) -> None:
    for family in ("open_clip", "transformers"):
        with full_after(2000), pytest.raises(OSError) as caught:  # noqa: PT011
            write_initial(tiny_recipe(family=family), ("dog",), tmp_path / "m")
        assert caught.value.errno == errno.EFBIG
        assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_does_not_fit_leaves_those_that_are_there(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1})
    before = tree(tmp_path)
    with full_after(20000), pytest.raises(OSError) as caught:  # noqa: PT011
        save_checkpoint(tmp_path, 2, {"weights": torch.zeros(10**5)})
    assert caught.value.filename == str(tmp_path / "step-00000002.pt")
    assert tree(tmp_path) == before


def _fail(place: Path, raised: BaseException) -> None:
    with written_whole(place) as partial:
        (partial / "half").mkdir(parents=True)
        raise raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), RuntimeError("of another kind"), InputError("no", hint="")])
def test_other_failures_stay_what_they_are_and_leave_nothing(tmp_path: Path, raised: BaseException) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(type(raised)) as caught:
        _fail(tmp_path / "old", raised)
    assert caught.value is raised
    assert tree(tmp_path) == {"old": None, "old/x": b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_file_takes_no_folders_place(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(IsADirectoryError), written_whole(tmp_path / "old") as partial:
        partial.write_text("page", encoding="utf-8")
    assert tree(tmp_path) == {"old": None, "old/x": b"x"}


def test_folders_that_were_made_for_nothing_are_taken_away_again(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError):
        _fail(tmp_path / "there" / "a" / "b" / "c", RuntimeError())
    assert list((tmp_path / "there").iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with written_whole(tmp_path / "deep" / "folder") as partial:
            partial.mkdir()
            (partial / name).write_text(name, encoding="utf-8")
        assert tree(tmp_path) == {"deep": None, "deep/folder": None, f"deep/folder/{name}": name.encode()}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


def test_a_file_takes_the_place_of_no_folder_and_a_folder_that_of_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(IsADirectoryError), written_whole(tmp_path / "folder") as partial:
        partial.write_text("a page", encoding="utf-8")
    with pytest.raises(NotADirectoryError), written_whole(tmp_path / "file") as partial:
        partial.mkdir()
    assert tree(tmp_path) == {"folder": None, "folder/thesis.txt": b"years", "file": b"x"}
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


@pytest.mark.parametrize("name", ["file", "folder"])
def test_all_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    done: list[int | str] = []

    def noting(swap: Callable[..., None]) -> Callable[..., None]:
        def noted(*paths: Path) -> None:
            done.append("swap")
            swap(*paths)

        return noted

    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_ino))
    monkeypatch.setattr(os, "replace", noting(os.replace))
    monkeypatch.setattr(os, "rename", noting(os.rename))
    path = tmp_path / name
    with written_whole(path) as partial:
        if name == "folder":
            (partial / "model").mkdir(parents=True)
            (partial / "model" / "weights").write_bytes(b"x")
            (partial / "model" / "weights").chmod(0o444)
        else:
            partial.write_bytes(b"x")
    at = done.index("swap")
    assert set(done[:at]) == {p.stat().st_ino for p in (path, *path.rglob("*"))}
    assert done[at + 1 :] == [tmp_path.stat().st_ino]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["run[1]", ".run1.partial-00000000", "run[1].partial", ".other.replaced-00000000"]
    for name in (*kept, ".run[1].partial-0123abcd", ".run[1].replaced-0123abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    clear_leftovers(tmp_path / "run[1]")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
