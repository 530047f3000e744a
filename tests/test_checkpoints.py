import gc
import json
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from efface import checkpoints
from efface.checkpoint_files import files, has_checkpoints
from efface.checkpoints import KIND, RefusedError, Working, check_unused, outlived
from efface.errors import EffaceWarning
from efface.types import State
from tests.disk import tree

REQUEST = {"class": "dog", "settings": {"rate": 1.0, "rounds": (1, 2)}}
LATER = "2999-01-01T00:00:00Z"
EARLIER = "1999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.0)


def noted(
    folder: Path,
    *numbers: int,
    request: State = REQUEST,
    stage: str = "a",
    resume: bool = True,
    overwrite: bool = False,
) -> Working:
    """A run that notes some numbers in a stage and is stopped."""
    with Working(folder, request, resume=resume, overwrite=overwrite) as working:
        place = working.stage(stage, {"of": 1})
        for number in numbers:
            place.offer(lambda n=number: {"n": n, "x": torch.full((2,), float(n))})  # type: ignore[misc]
    return working


def found(folder: Path) -> State | None:
    """What a run that goes on takes from it."""
    with Working(folder, REQUEST, resume=True) as working:
        return working.stage("a", {"of": 1}).take()


def test_a_run_that_goes_on_takes_what_was_noted(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1, 2)
    known = found(tmp_path / "w")
    assert known is not None
    assert known["n"] == 2


def test_another_request_is_refused_and_every_value_that_differs_is_named(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1)
    other = {"class": "dog", "settings": {"rate": 2.0, "rounds": [1, 3]}}
    with pytest.raises(RefusedError, match=r"of another request: settings\.rate, settings\.rounds differ$"):
        Working(tmp_path / "w", other, resume=True)
    assert found(tmp_path / "w") is not None


def test_what_is_there_is_neither_deleted_nor_used_unless_that_is_asked_for(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1, stage="b")
    before = tree(tmp_path)
    with pytest.raises(RefusedError, match="holds what a run noted") as caught:
        noted(tmp_path / "w", 2, resume=False)
    anew = "goes on with it; to begin anew, remove that folder, or choose another --out"
    assert caught.value.hint == f"--resume {anew}"
    with pytest.raises(RefusedError, match="holds what a run noted"):
        check_unused(tmp_path / "w")
    # To do the same again would be for nothing.
    with pytest.raises(RefusedError, match="holds what a run noted") as caught:
        noted(tmp_path / "w", 2, resume=False, overwrite=True)
    assert caught.value.hint == f"--resume --overwrite {anew}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(EffaceWarning, match=r"a run of another request noted in .* is deleted now"):
            noted(tmp_path / "w", 2, request={"class": "cat"}, resume=False, overwrite=True)
    assert tree(tmp_path) == before
    with pytest.warns(EffaceWarning, match="is deleted"):
        noted(tmp_path / "w", 2, request={"class": "cat"}, resume=False, overwrite=True)
    assert json.loads((tmp_path / "w" / "request.json").read_text())["request"] == {"class": "cat"}
    assert not (tmp_path / "w" / "b").exists()


def test_one_process_at_a_time_has_the_folder(tmp_path: Path) -> None:
    with Working(tmp_path / "w", REQUEST), pytest.raises(RefusedError, match="another process works"):
        Working(tmp_path / "w", REQUEST)
    Working(tmp_path / "w", REQUEST).close()


def test_a_lock_that_is_let_go_soon_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PATIENCE", 30.0)
    noted(tmp_path / "w", 1)
    # As the worker processes of a run that was killed do, which see it some seconds later.
    hold = "import sys, time, filelock\nwith filelock.FileLock(sys.argv[1]):\n print(flush=True)\n time.sleep(0.5)"
    asked = [sys.executable, "-c", hold, str(tmp_path / "w" / "lock")]
    with subprocess.Popen(asked, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert found(tmp_path / "w") is not None


@pytest.mark.parametrize("by", ["close", "discard"])
@pytest.mark.parametrize("made_anew", [False, True])
def test_what_another_one_ended_while_it_was_waited_for_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_anew: bool, by: str
) -> None:
    first = Working(tmp_path / "w", REQUEST)
    real, notes = FileLock.acquire, [1, 2] if by == "discard" else []
    place = first.stage("a", {})
    for number in notes:
        place.offer(lambda n=number: {"n": n})  # type: ignore[misc]

    def acquire(self: FileLock, *args: Any, **more: Any) -> Any:
        # What versions of filelock do where it waits, or just before.
        getattr(first, by)()
        if made_anew:
            (tmp_path / "w").mkdir()
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", acquire)
        if not made_anew:
            patch.setattr("filelock._api.ensure_directory_exists", lambda _: None, raising=False)
        with pytest.raises(RefusedError, match=r"another process worked in .* and has removed it"):
            Working(tmp_path / "w", REQUEST, resume=True)
    assert list(tmp_path.iterdir()) == []
    Working(tmp_path / "w", REQUEST, resume=True).close()


def test_what_stages_were_offered_is_let_go_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 1e9)
    model = torch.nn.Linear(1, 1)
    alive = weakref.ref(model)
    with Working(tmp_path / "w", REQUEST) as working:
        working.stage("a", {}).finish(lambda model=model: {"w": model.weight})  # type: ignore[misc]
        working.stage("b", {})
    del model
    gc.collect()
    assert alive() is None


OTHERS = (
    {"keep.txt": "x"},
    {"request.json": "{}", "photos/a.jpg": "x"},
    {"request.json": "[]", "a/x": ""},
    # Damaged, each in one place.
    {"request.json": json.dumps({"efface": KIND, "begun": EARLIER, "request": []})},
    {"request.json": json.dumps({"efface": KIND, "begun": EARLIER})},
    {"request.json": json.dumps({"efface": KIND, "begun": 1, "request": {}})},
)


@pytest.mark.parametrize("others", OTHERS)
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, others: dict[str, str]) -> None:
    for name, text in others.items():
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_text(text, encoding="utf-8")
    before = tree(tmp_path)
    for resume in (False, True):
        with pytest.raises(RefusedError, match="is not the working folder"):
            Working(tmp_path / "w", REQUEST, resume=resume, overwrite=not resume)
    with outlived(tmp_path / "w", REQUEST, LATER) as is_held:
        assert not is_held
    assert tree(tmp_path) == before


def test_what_others_put_into_a_working_folder_stays(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1)
    for name in ("notes.txt", "a/mine.txt", "photos/a.jpg"):
        (tmp_path / "w" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "w" / name).write_text("x", encoding="utf-8")
    with pytest.warns(EffaceWarning, match="is deleted"):
        working = Working(tmp_path / "w", {"class": "cat"}, overwrite=True)
    working.stage("a", {}).offer(lambda: {"n": 1})
    working.discard()
    assert {str(p.relative_to(tmp_path / "w")) for p in (tmp_path / "w").rglob("*.*")} == {
        "notes.txt",
        "a/mine.txt",
        "photos/a.jpg",
    }


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("x", encoding="utf-8")
    with pytest.raises(RefusedError, match="is not the working folder"):
        Working(tmp_path / "w", REQUEST)


def test_a_run_that_noted_nothing_leaves_nothing(tmp_path: Path) -> None:
    noted(tmp_path / "deep" / "er" / "w")
    assert list(tmp_path.iterdir()) == []
    # Killed before its request was written.
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "lock").touch()
    (tmp_path / "w" / ".request.json.partial-0123abcd").touch()
    noted(tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_kept() -> None:
    with Working(None, {}) as working:
        stage = working.stage("a", {})
        stage.offer(lambda: pytest.fail("asked for a state that nobody keeps"))
        assert stage.take() is None
        assert not working.is_held()
    working.discard()


class Clock:
    """The time, for all that asks for it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        patch.setattr(time, "monotonic", lambda: self.now)
        patch.setattr(checkpoints, "EVERY", 10.0)
        patch.setattr(checkpoints, "SHARE", 0.05)


def test_notes_are_some_time_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with Working(tmp_path / "w", REQUEST) as working:
        stages = {name: working.stage(name, {}) for name in "ab"}
        for name, seconds, count in (("a", 9.9, 0), ("a", 10.0, 1), ("b", 19.9, 0), ("b", 20.0, 1)):
            clock.now = 100.0 + seconds
            stages[name].offer(lambda: {"n": 1})
            assert len(files(tmp_path / "w" / name)) == count


def test_of_many_short_stages_no_more_is_lost_than_of_one_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with Working(tmp_path / "w", REQUEST) as working:
        for number in range(12):
            stage = working.stage(str(number), {})
            for step in range(9):
                clock.now += 1
                stage.offer(lambda step=step: {"step": step})  # type: ignore[misc]
    with Working(tmp_path / "w", REQUEST, resume=True) as working:
        known = [working.stage(str(number), {}).take() for number in range(12)]
    done = sum(0 if state is None else state["step"] + 1 for state in known)
    assert 12 * 9 - done < 10


def test_what_a_stage_made_is_noted_with_the_next_note_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with Working(tmp_path / "w", REQUEST) as working:
        first, second = working.stage("a", {}), working.stage("b", {})
        clock.now += 9
        first.finish(lambda: {"made": 1})
        clock.now += 1
        second.offer(lambda: {"n": 1})
    with Working(tmp_path / "w", REQUEST, resume=True) as working:
        stage = working.stage("a", {})
        assert stage.result == {"made": 1}
        assert stage.seconds == 9.0


def test_large_checkpoints_come_less_often_and_hold_up_no_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def large() -> State:
        clock.now += 1.0
        return {"n": 1}

    with Working(tmp_path / "w", REQUEST) as working:
        big, small = working.stage("big", {}), working.stage("small", {})
        clock.now += 10
        big.offer(large)
        assert len(files(tmp_path / "w" / "big")) == 1
        clock.now += 19.9
        big.offer(large)
        assert len(files(tmp_path / "w" / "big")) == 1
        clock.now += 0.1
        big.offer(large)
        assert len(files(tmp_path / "w" / "big")) == 2
        clock.now += 10
        small.offer(lambda: {"n": 1})
        assert len(files(tmp_path / "w" / "small")) == 1


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


def test_a_folder_is_had_until_it_is_discarded_closed_or_dropped(tmp_path: Path) -> None:
    def had() -> bool:
        try:
            Working(tmp_path / "w", REQUEST, resume=True).close()
        except RefusedError:
            return True
        return False

    for end in (Working.discard, Working.close, lambda _: None):
        with Working(tmp_path / "w", REQUEST).noting() as working:
            working.stage("a", {}).offer(lambda: {"n": 1})
        assert working.is_held()
        assert had()
        end(working)
        assert working.is_held() == had() == (end not in (Working.discard, Working.close))
        assert has_checkpoints(tmp_path / "w") == (end is not Working.discard)
        del working
        assert not had()
        Working(tmp_path / "w", REQUEST, resume=True).discard()
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), Working(tmp_path / "w", REQUEST).noting():
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_others_go_on_in_or_have_begun_is_not_discarded(tmp_path: Path) -> None:
    first = noted(tmp_path / "w", 1)
    first.discard()
    assert has_checkpoints(tmp_path / "w")
    # Moved away by hand while it is had, so that another one could begin there.
    second = Working(tmp_path / "w", REQUEST, resume=True)
    (tmp_path / "w").rename(tmp_path / "moved")
    noted(tmp_path / "w", 2, request={"class": "cat"})
    assert not second.is_held()
    second.discard()
    assert has_checkpoints(tmp_path / "w")
    assert has_checkpoints(tmp_path / "moved")


def test_a_discard_that_is_killed_leaves_what_is_known_to_be_a_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.unlink
    for at in range(5):
        noted(tmp_path / "w", 1, 2, 3)
        working = Working(tmp_path / "w", REQUEST, resume=True)
        left = [at]

        def unlink(path: Path, missing_ok: bool = False, left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            real(path, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            try:
                working.discard()
            except KeyboardInterrupt:
                assert (tmp_path / "w").exists()
        del working
        with outlived(tmp_path / "w", REQUEST, LATER):
            pass
        Working(tmp_path / "w", REQUEST).close()
        assert not (tmp_path / "w").exists()


def test_what_a_finished_run_outlived_goes_and_what_was_begun_after_it_stays(tmp_path: Path) -> None:
    noted(tmp_path / "w", 1)
    with pytest.raises(RefusedError, match="a later run noted") as caught, outlived(tmp_path / "w", REQUEST, EARLIER):
        pytest.fail("nothing may be done")
    assert "--resume --overwrite goes on with it" in caught.value.hint
    # What only one of both says tells nothing.
    other = {"class": "cat", "data": ["x"]}
    with pytest.raises(RefusedError, match="of another request: class differs"), outlived(tmp_path / "w", other, LATER):
        pytest.fail("nothing may be done")
    assert has_checkpoints(tmp_path / "w")
    with FileLock(tmp_path / "w" / "lock"), pytest.raises(RefusedError, match="another process works"):
        outlived(tmp_path / "w", REQUEST, LATER).__enter__()
    with outlived(tmp_path / "w", REQUEST, LATER) as is_held:
        assert is_held
        assert has_checkpoints(tmp_path / "w")
    assert not (tmp_path / "w").exists()
