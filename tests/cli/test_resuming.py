import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from efface import backends, checkpoints, measuring, pipeline
from efface.cli import run
from efface.errors import NotFiniteError
from efface.export import folder
from tests.cli.asking import forget, said
from tests.disk import tree
from tests.worlds import World

LIP = ["--set", "images=3", "--set", "samples=2", "--set", "learning_rate=1e-3", "--set", "synthesis.jitter=2"]
QUICK = ["--set", "synthesis.acceptance_scale=1", "--set", "synthesis.threshold=0.01"]


def test_a_run_that_is_stopped_says_how_to_go_on_and_one_that_is_finished_is_not_done_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection", "--resume")
    with monkeypatch.context() as broken:
        broken.setattr(folder, "save", _full)
        assert run(asked) == 2
    kept = f"what is done is kept in {tmp_path / 'run.partial'}: the same command with --resume goes on from there"
    assert said(capsys)[1].splitlines()[-2:] == [
        "error: model: No space left on device",
        f"hint: make room, or look at the path; {kept}",
    ]
    assert run([*asked, "--set", "strength=1"]) == 2
    assert said(capsys)[1].splitlines()[-2:] == [
        f"error: {tmp_path / 'run.partial'} holds what was noted of another request: settings.strength differs",
        "hint: ask for the same, with all files of the model as they were, to go on; "
        "--overwrite without --resume deletes it, and begins anew",
    ]
    assert run(asked) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    before = tree(tmp_path)
    said(capsys)
    assert run(asked) == 0
    assert said(capsys)[0] == f"{tmp_path / 'run'}\n"
    assert tree(tmp_path) == before


def _killed(*args: object, **more: object) -> None:
    raise KeyboardInterrupt


def _finished_lip(world: World, out: Path) -> list[str]:
    """A run that is finished, and the command that made it."""
    asked = forget(world, out, "--preset", "paper", "--set", "max_rounds=1", *LIP, *QUICK)
    assert run(asked) in (0, 1)
    return asked


def test_a_finished_run_is_shown_where_the_same_is_asked_for_and_refused_where_anything_else_is(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _finished_lip(world, tmp_path / "run")
    first, before = said(capsys), tree(tmp_path)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert run([*asked, "--resume"]) == int(not record["reached"])
    again = said(capsys)
    assert again[0] == first[0]
    assert record["reason"] in again[1]
    other = shutil.copytree(world.data, tmp_path / "other")
    for more, differs in (
        (["--seed", "1"], "seed"),
        (["--precision", "bf16"], "precision"),
        (["--set", "synthesis.iterations=9"], "synthesis.settings.iterations"),
        (["--set", "accumulate=3", "--template", "a {}"], "settings.accumulate, templates"),
        (["--eval-where", "x=y"], "data differs"),
        (["--eval", str(other)], "data differs"),
        (["--model", str(Path(world.model.removeprefix("local-dir:")))], "model"),
    ):
        assert run([*asked, "--resume", *more]) == 2
        error, hint = said(capsys)[1].splitlines()[-2:]
        assert error.startswith(f"error: {tmp_path / 'run'} holds a finished run of another request: {differs}")
        assert "--resume --overwrite makes the one that is asked for now" in hint
    shutil.rmtree(other)
    assert tree(tmp_path) == before


def test_what_a_later_run_noted_is_not_lost_to_a_finished_one(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = forget(world, tmp_path / "run", "--method", "projection")
    assert run(asked) == 0
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    # A second later, as clocks of records go.
    monkeypatch.setattr(checkpoints, "TIME", "2999-01-01T00:00:00Z")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run([*asked, "--overwrite"]) == 130
    before = tree(tmp_path)
    said(capsys)
    for more, error in (
        (["--resume"], "holds what a later run noted that was stopped"),
        ([], "holds what a run noted that was stopped"),
        # As one repeats it; and no warning that it is deleted.
        (["--overwrite"], "holds what a run noted that was stopped"),
    ):
        assert run([*asked, *more]) == 2
        *_, told, hint = said(capsys)[1].splitlines()
        assert told == f"error: {tmp_path / 'run.partial'} {error}"
        assert hint.startswith("hint: --resume --overwrite goes on with it; ")
        assert tree(tmp_path) == before
    assert run([*asked, "--resume", "--overwrite"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_was_noted_is_not_lost_where_resume_is_forgotten(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run(asked) == 130
        before = tree(tmp_path)
        # Said before anything is loaded.
        patch.setattr(backends, "load", lambda *_, **__: pytest.fail("a model was loaded"))
        assert run(asked) == 2
    assert said(capsys)[1].splitlines()[-2:] == [
        f"error: {tmp_path / 'run.partial'} holds what a run noted that was stopped",
        "hint: --resume goes on with it; to begin anew, remove that folder, or choose another --out",
    ]
    assert tree(tmp_path) == before
    assert run([*asked, "--overwrite", "--seed", "1"]) == 0
    assert f"what a run of another request noted in {tmp_path / 'run.partial'} is deleted now" in said(capsys)[1]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("at", ["efface.export.folder.note_run", "efface.checkpoints.Working.discard"])
def test_a_run_that_is_killed_after_it_was_written_ends_as_it_would_have(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(forget(world, tmp_path / "first", "--method", "projection")) == 0
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(at, _killed)
        assert run(asked) == 130
    (tmp_path / ".run.replaced-0123abcd").mkdir()
    assert (tmp_path / "run.partial").is_dir()
    assert run([*asked, "--resume"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"first", "run", "runs.jsonl", ".runs.jsonl.lock"}
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == ["first", "run"]


@pytest.mark.parametrize("every", [0.0, pytest.param(1e9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("at", ["efface.export.folder.note_run", "efface.checkpoints.Working.discard"])
def test_a_run_that_is_stopped_when_it_is_whole_says_so(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
    every: float,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", every)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    for more in ([], ["--overwrite", "--seed", "1"]):
        with monkeypatch.context() as patch:
            patch.setattr(at, _killed)
            assert run([*asked, *more]) == 130
        whole = f"hint: the run is whole in {tmp_path / 'run'}: --resume without --overwrite shows it"
        assert said(capsys)[1].splitlines()[-2:] == ["error: interrupted", whole]
        assert run([*asked, "--resume", *more[1:]]) == 0
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_where_a_run_has_come_to_be_by_the_end_the_way_on_replaces_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(forget(world, tmp_path / "other", "--method", "projection", "--seed", "1")) == 0
    asked = forget(world, tmp_path / "run", "--method", "projection")
    real = measuring.measure

    def appear(*args: Any, **more: Any) -> Any:
        shutil.copytree(tmp_path / "other", tmp_path / "run")
        return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", appear)
        assert run(asked) == 2
    assert said(capsys)[1].splitlines()[-1].endswith("the same command with --resume --overwrite goes on from there")
    assert run([*asked, "--resume", "--overwrite"]) == 0
    assert json.loads((tmp_path / "run" / "record.json").read_text())["seed"] == 0


def test_what_is_noted_of_another_request_is_not_lost_to_a_finished_run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run([*forget(world, tmp_path / "other", "--method", "projection"), "--seed", "1"]) == 130
    assert run(asked) == 0
    (tmp_path / "other.partial").rename(tmp_path / "run.partial")
    before = tree(tmp_path)
    assert run([*asked, "--resume"]) == 2
    told, hint = said(capsys)[1].splitlines()[-2:]
    assert told.endswith("run.partial holds what a run noted that was stopped, of another request: seed differs")
    assert "--resume --overwrite" in hint
    assert tree(tmp_path) == before


def test_the_folder_that_one_stands_in_can_be_replaced(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection")) == 0
    for dots in (".", "model/.."):
        monkeypatch.chdir(tmp_path / "run")
        assert run(forget(world, Path(dots), "--method", "projection", "--overwrite", "--json")) == 0
        monkeypatch.chdir(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_whatever_ends_a_run_says_how_to_go_on_where_that_helps(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection", "--resume")
    kept = f"what is done is kept in {tmp_path / 'run.partial'}: the same command with --resume goes on from there"

    def ends(error: BaseException) -> None:
        def end(*args: object, **more: object) -> None:
            raise error

        monkeypatch.setattr(pipeline, "measure", end)

    ends(NotFiniteError("the loss is nan", hint="lower the learning rate"))
    assert run(asked) == 1
    assert said(capsys)[1].splitlines()[-1] == "hint: lower the learning rate"
    ends(RuntimeError("of another kind"))
    with pytest.raises(RuntimeError) as caught:
        run(asked)
    assert caught.value.__notes__ == [kept]
    monkeypatch.setattr(backends, "load", _killed)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-1] == f"hint: {kept}"


def test_ctrl_c_says_how_to_go_on_where_there_is_something_to_go_on_from(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    asked = forget(world, tmp_path / "run", "--method", "projection")
    monkeypatch.setattr(pipeline, "measure", interrupted)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-2:] == [
        "error: interrupted",
        "hint: nothing was written; run the command again",
    ]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-1].startswith(f"hint: what is done is kept in {tmp_path / 'run.partial'}")


def _full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model")
