import json
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface import checkpoints
from efface.checkpoints import (
    KEPT,
    DamagedError,
    RefusedError,
    Working,
    beside,
    discard,
    has_checkpoints,
    is_working_folder,
    read_checkpoint,
    write_checkpoint,
)
from efface.errors import EffaceWarning
from efface.types import State

REQUEST = {"class": "dog", "settings": {"rate": 1.0, "rounds": (1, 2)}}


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))


def noted(folder: Path, *numbers: int, request: State = REQUEST, stage: str = "a", resume: bool = True) -> None:
    """A run that notes some numbers in a stage and is stopped."""
    with Working(folder, request, resume=resume) as working:
        place = working.stage(stage, {"of": 1})
        for number in numbers:
            place.offer(lambda n=number: {"n": n, "x": torch.full((2,), float(n))})  # type: ignore[misc]


def found(folder: Path, of: int = 1) -> State | None:
    """What a run that goes on takes from it."""
    with Working(folder, REQUEST, resume=True) as working:
        return working.stage("a", {"of": of}).take()


def test_the_last_two_are_kept_and_the_last_is_taken_once(tmp_path: Path) -> None:
    noted(tmp_path / "w", *range(12))
    assert [p.name for p in sorted((tmp_path / "w" / "a").iterdir())] == ["00000011.checkpoint", "00000012.checkpoint"]
    with Working(tmp_path / "w", REQUEST, resume=True) as working:
        stage = working.stage("a", {"of": 1})
        known = stage.take()
        assert known is not None
        assert known["n"] == 11
        assert known["x"].tolist() == [11.0, 11.0]
        assert stage.take() is None


def test_what_was_made_of_something_else_is_not_taken(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1, 2)
    assert found(tmp_path / "w", of=2) is None
    assert found(tmp_path / "w", of=1) is None  # it is gone


def test_a_finished_stage_has_a_result_and_nothing_to_take(tmp_path: Path) -> None:
    with Working(tmp_path / "w", REQUEST) as working:
        working.stage("a", {}).finish(lambda: {"n": 5})
    with Working(tmp_path / "w", REQUEST, resume=True) as working:
        stage = working.stage("a", {})
        assert stage.result == {"n": 5}
        assert stage.take() is None


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_byte_that_is_not_as_written_is_seen(
    tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("c") / "1.checkpoint"
    write_checkpoint(path, {"n": 1}, "of")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= flip
    path.write_bytes(content)
    # A head that names another format or other inputs is not what is looked for; all else is damaged.
    try:
        assert read_checkpoint(path, "of") is None
    except DamagedError:
        return


@pytest.mark.parametrize("content", [b"", b"half", b"[]\n", b"{}\n", b'{"sha256": 1}\nx'])
def test_what_is_no_checkpoint_is_damaged_or_not_taken(tmp_path: Path, content: bytes) -> None:
    noted(tmp_path / "w", 1, 2)
    (tmp_path / "w" / "a" / "00000002.checkpoint").write_bytes(content)
    if content.startswith(b'{"sha256"'):
        known = found(tmp_path / "w")  # of another format
    else:
        with pytest.warns(EffaceWarning, match="00000002.checkpoint is damaged: it has no head"):
            known = found(tmp_path / "w")
    assert known is not None
    assert known["n"] == 1


def test_one_that_was_cut_off_is_damaged_and_half_a_write_is_no_checkpoint(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1, 2)
    last = tmp_path / "w" / "a" / "00000002.checkpoint"
    last.write_bytes(last.read_bytes()[:-100])
    left = tmp_path / "w" / "a" / ".00000003.checkpoint.partial-0123abcd"
    left.write_bytes(b"half")
    with pytest.warns(EffaceWarning, match="digest"):
        known = found(tmp_path / "w")
    assert known is not None
    assert known["n"] == 1
    assert not left.exists()


def test_another_request_is_refused_and_every_value_that_differs_is_named(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1)
    other = {"class": "dog", "settings": {"rate": 2.0, "rounds": [1, 3]}}
    with pytest.raises(RefusedError, match=r"another request: settings\.rate, settings\.rounds differ$"):
        Working(tmp_path / "w", other, resume=True)
    assert found(tmp_path / "w") is not None
    (tmp_path / "w" / "request.json").write_text("{", encoding="utf-8")
    with pytest.raises(RefusedError, match="damaged"):
        Working(tmp_path / "w", REQUEST, resume=True)


def test_a_run_that_begins_anew_clears_what_is_there_and_says_so(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1, stage="b")
    with pytest.warns(EffaceWarning, match="is cleared"):
        noted(tmp_path / "w", 2, request={"class": "cat"}, resume=False)
    assert json.loads((tmp_path / "w" / "request.json").read_text()) == {"class": "cat"}
    assert not (tmp_path / "w" / "b").exists()


def test_one_process_at_a_time_has_the_folder(tmp_path: Path) -> None:
    with Working(tmp_path / "w", REQUEST), pytest.raises(RefusedError, match="another process works"):
        Working(tmp_path / "w", REQUEST)
    Working(tmp_path / "w", REQUEST).close()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("x", encoding="utf-8")
    with pytest.raises(RefusedError, match="is not the working folder"):
        Working(tmp_path, REQUEST)
    discard(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


def test_a_run_that_noted_nothing_leaves_nothing(tmp_path: Path) -> None:
    noted(tmp_path / "w")
    assert not (tmp_path / "w").exists()
    # Killed before its request was written.
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "lock").touch()
    (tmp_path / "w" / ".request.json.partial-0123abcd").touch()
    noted(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_without_a_folder_nothing_is_kept() -> None:
    with Working(None, {}) as working:
        stage = working.stage("a", {})
        stage.offer(lambda: pytest.fail("asked for a state that nobody keeps"))
        assert stage.take() is None


def test_checkpoints_are_some_time_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(checkpoints, "EVERY", 10.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Working(tmp_path / "w", REQUEST) as working:
        for stage, seconds, files in (("a", 9.9, 0), ("a", 10.0, 1), ("b", 19.9, 0), ("b", 20.0, 1)):
            clock[0] = 100.0 + seconds
            place = working.stage(stage, {})
            place.offer(lambda: {"n": 1})
            assert len(list((tmp_path / "w").glob(f"{stage}/*.checkpoint"))) == min(files, KEPT)


def test_large_checkpoints_come_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(checkpoints, "EVERY", 10.0)
    monkeypatch.setattr(checkpoints, "SHARE", 0.05)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Working(None, {}) as working:
        clock[0] += 10
        assert working.is_due()
        working.wrote(1.0)
        clock[0] += 19.9
        assert not working.is_due()
        assert working.is_due(is_done=True)
        clock[0] += 0.1
        assert working.is_due()


def test_the_seconds_of_runs_that_were_stopped_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(2):
        with Working(tmp_path / "w", REQUEST, resume=True) as working:
            stage = working.stage("a", {})
            clock[0] += 5
            stage.offer(lambda: {"n": 1})
    with Working(tmp_path / "w", REQUEST, resume=True) as working:
        assert working.stage("a", {}).seconds == 10.0


def test_the_working_folder_stands_beside_the_run(tmp_path: Path) -> None:
    folder = beside(tmp_path / "runs" / "dog.v1")
    assert folder == tmp_path / "runs" / "dog.v1.partial"
    assert not is_working_folder(folder)
    assert not has_checkpoints(folder)
    noted(folder, 1)
    assert is_working_folder(folder)
    assert has_checkpoints(folder)
    discard(folder)
    assert not folder.exists()
