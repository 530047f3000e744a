import errno
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.checkpoint_files import (
    DamagedError,
    Stage,
    clear,
    files,
    has_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from efface.errors import EffaceError, EffaceWarning
from efface.fitting import MemoryLackError, resident
from efface.types import State
from tests.disk import tree


def stage(folder: Path, of: int = 1) -> Stage:
    """A stage that notes all that it is offered."""
    return Stage(folder, {"of": of}, Stage.write)


def noted(folder: Path, *numbers: int) -> None:
    place = stage(folder)
    for number in numbers:
        place.offer(lambda n=number: {"n": n, "x": torch.full((2,), float(n))})  # type: ignore[misc]


def found(folder: Path, of: int = 1) -> State | None:
    return stage(folder, of).take()


def test_the_last_two_are_kept_and_the_last_is_taken_once(tmp_path: Path) -> None:
    noted(tmp_path / "a", *range(12))
    assert [p.name for p in sorted((tmp_path / "a").iterdir())] == ["00000011.checkpoint", "00000012.checkpoint"]
    again = stage(tmp_path / "a")
    known = again.take()
    assert known is not None
    assert known["n"] == 11
    assert known["x"].tolist() == [11.0, 11.0]
    assert again.take() is None


def test_what_was_made_of_something_else_is_not_taken_and_stays_until_it_is_replaced(tmp_path: Path) -> None:
    noted(tmp_path / "a", 1, 2)
    assert found(tmp_path / "a", of=2) is None
    assert found(tmp_path / "a") is not None
    other = stage(tmp_path / "a", of=2)
    other.offer(lambda: {"n": 3})
    other.offer(lambda: {"n": 4})
    assert found(tmp_path / "a") is None
    assert found(tmp_path / "a", of=2) == {"n": 4}


def test_a_finished_stage_has_a_result_and_nothing_to_take(tmp_path: Path) -> None:
    stage(tmp_path / "a").finish(lambda: {"n": 5})
    again = stage(tmp_path / "a")
    assert again.result == {"n": 5}
    assert again.take() is None


def test_what_was_offered_last_is_written_once(tmp_path: Path) -> None:
    place = Stage(tmp_path / "a", {"of": 1}, lambda _: None)
    place.offer(lambda: {"n": 1})
    place.offer(lambda: {"n": 2})
    assert not has_checkpoints(tmp_path)
    place.write()
    place.write()
    assert len(files(tmp_path / "a")) == 1
    assert found(tmp_path / "a") == {"n": 2}


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_byte_that_is_not_as_written_is_seen(
    tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("c") / "1.checkpoint"
    write_checkpoint(path, {"n": 1}, "of")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= flip
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="digest"):
        read_checkpoint(path, "of")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"half"),
    lambda path: path.write_bytes(b"x" * 1000),
    _cut,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_damaged_one_the_one_before_is_used(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    noted(tmp_path / "a", 1, 2)
    damage(tmp_path / "a" / "00000002.checkpoint")
    with pytest.warns(EffaceWarning, match="00000002.checkpoint is damaged: its bytes do not have the digest"):
        known = found(tmp_path / "a")
    assert known is not None
    assert known["n"] == 1
    # It is kept until there is something new: a disk may read in one hour what it does not read in another.
    assert [path.name for path in files(tmp_path / "a")] == ["00000001.checkpoint", "00000002.checkpoint"]
    with pytest.warns(EffaceWarning, match="is damaged"):
        stage(tmp_path / "a").offer(lambda: {"n": 3})
    assert [path.name for path in files(tmp_path / "a")] == ["00000001.checkpoint", "00000003.checkpoint"]


NO_MEMORY = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (RuntimeError(NO_MEMORY), MemoryLackError, "memory does not do for the checkpoint .*00000002"),
        (MemoryError(), MemoryLackError, "memory does not do for the checkpoint .*00000002"),
        (OSError(errno.EIO, "Input/output error"), OSError, "Input/output error"),
        (RuntimeError("of another kind"), RuntimeError, "of another kind"),
    ],
)
def test_what_cannot_be_read_now_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], said: str
) -> None:
    def load(*args: object, **more: object) -> None:
        raise error

    noted(tmp_path / "a", 1, 2)
    before = tree(tmp_path)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(raised, match=said):
        found(tmp_path / "a")
    assert tree(tmp_path) == before


def test_a_finished_stage_that_cannot_be_noted_is_warned_of_and_the_last_note_stays(tmp_path: Path) -> None:
    noted(tmp_path / "a", 1)
    place = stage(tmp_path / "a")
    with pytest.warns(EffaceWarning, match="what the stage a made is not noted, and made again after a stop: .*Posix"):
        place.finish(lambda: {"n": Path("x")})
    place.write()
    assert [path.name for path in files(tmp_path / "a")] == ["00000001.checkpoint"]


def test_half_a_write_is_no_checkpoint_and_is_removed(tmp_path: Path) -> None:
    noted(tmp_path / "a", 1)
    left = tmp_path / "a" / ".00000002.checkpoint.partial-0123abcd"
    left.write_bytes(b"half")
    known = found(tmp_path / "a")
    assert known is not None
    assert known["n"] == 1
    assert not left.exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("c") / "1.checkpoint"
    write_checkpoint(path, {"value": value}, "of")
    assert read_checkpoint(path, "of") == {"value": value}


def test_the_state_of_an_optimizer_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "weights": OrderedDict(w=weight)}
    write_checkpoint(tmp_path / "c", state, "of")
    read = read_checkpoint(tmp_path / "c", "of")
    assert read is not None
    assert torch.equal(read["optimizer"]["state"][0]["exp_avg"], state["optimizer"]["state"][0]["exp_avg"])
    assert torch.equal(read["weights"]["w"], weight)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.float64(0.5), r"a float64, which stands at \['a'\]$"),
        ([{"x": (1, Path("y"))}], r"stands at \['a'\]\[0\]\['x'\]\[1\]$"),
        ({np.int64(1): 2}, r"a int64, which stands at \['a'\] as a key$"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(EffaceError, match=said) as caught:
        write_checkpoint(tmp_path / "c", {"a": value}, "of")
    assert "tensors, numbers, texts" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_large_state_is_not_held_twice(tmp_path: Path) -> None:
    size = 64 * 2**20
    state, most, ended = {"x": torch.ones(size // 4)}, [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.001):
            most[0] = max(most[0], resident())

    thread = threading.Thread(target=watch)
    before = resident()
    thread.start()
    write_checkpoint(tmp_path / "c", state, "of")
    written, most[0] = most[0] - before, 0
    read = read_checkpoint(tmp_path / "c", "of")
    ended.set()
    thread.join()
    assert read is not None
    assert torch.equal(read["x"], state["x"])
    assert written < size / 2
    assert most[0] - before < 1.5 * size


def test_only_checkpoints_are_removed(tmp_path: Path) -> None:
    noted(tmp_path / "a", 1, 2)
    noted(tmp_path / "b", 1)
    (tmp_path / "b" / ".00000002.checkpoint.partial-0123abcd").touch()
    kept = ["a/mine.checkpoint", "a/.1.checkpoint.partial-x", "c/x.jpg", "00000001.checkpoint"]
    (tmp_path / "c").mkdir()
    for name in kept:
        (tmp_path / name).touch()
    assert has_checkpoints(tmp_path)
    clear(tmp_path)
    assert not has_checkpoints(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")} == {*kept, "a", "c"}


def test_without_a_folder_nothing_is_kept() -> None:
    place = Stage(None, {}, lambda _: pytest.fail("told of what nobody keeps"))
    place.offer(lambda: pytest.fail("asked for a state that nobody keeps"))
    assert place.take() is None
