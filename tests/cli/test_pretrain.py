import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.cli import run
from efface.pretraining import train
from efface.pretraining.checkpoints import last_checkpoint
from efface.pretraining.toml import to_toml
from tests.cli.asking import said
from tests.pretraining.recipes import tables
from tests.worlds import World


def _asked(world: World, folder: Path, *more: str, **training: Any) -> list[str]:
    given = tables(world.data, **training)
    given["data"]["validation"] = [world.data]
    (folder / "r.toml").write_text(to_toml(given), encoding="utf-8")
    return ["pretrain", str(folder / "r.toml"), "--out", str(folder / "run"), "--device", "cpu", *more]


def test_it_prints_the_folder_and_says_how_good_the_model_is(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_asked(world, tmp_path)) == 0
    out, err = said(capsys)
    assert out == f"{tmp_path / 'run'}\n"
    assert f"{world.data}: " in err
    assert "% of 12 right" in err
    assert "6/6" in err


def test_json_values_of_the_recipe_and_going_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _asked(world, tmp_path, "--json", "--set", "training.steps=3")
    assert run(asked) == 0
    found = json.loads(said(capsys)[0])
    assert found["steps"] == 3
    assert found["folder"] == str(tmp_path / "run")
    assert [score["n"] for score in found["scores"]] == [12]
    assert run([*asked, "--resume"]) == 0
    assert json.loads(said(capsys)[0])["scores"] == found["scores"]


@pytest.mark.parametrize(
    ("more", "error", "hint"),
    [
        (["--set", "training.step=3"], "there is no training.step", "did you mean steps?"),
        (["--resume", "--overwrite"], "at once", "--resume or --overwrite"),
        (["--set", "data.train=nowhere"], "'nowhere' does not exist", "class folders"),
        (["--set", "training.batch_size=99"], "12 images do not fill a batch of 99", "lower"),
        (["--set", "data.levels=[7]"], "has no level 7 of captions", "count from 0"),
        (["--set", "training.precision=fp16"], "fp16 needs a GPU", "bf16"),
        (["--set", "model.config.vision_cfg.patch=3"], "there is no model.config.vision_cfg.patch", "patch_size"),
        (["--set", "model.config.vision_cfg.layers=null"], "no model can be built from model.config", "fit each other"),
        (["--device", "banana"], "the device 'banana' cannot be used", "use cpu"),
        (["--device", "cuda:99"], "the device 'cuda:99' cannot be used", "use cpu"),
    ],
)
def test_bad_input_is_exit_code_2_and_leaves_all_as_it_was(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], error: str, hint: str
) -> None:
    def fails() -> None:
        assert run(asked) == 2
        told = said(capsys)[1]
        assert error in told
        assert hint in told

    asked = _asked(world, tmp_path, *more)
    fails()
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]
    # An earlier run, as far as a folder tells.
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "recipe.toml").write_text("", encoding="utf-8")
    asked = _asked(world, tmp_path, *more, *(["--overwrite"] if "--overwrite" not in more else []))
    fails()
    assert {path.name for path in tmp_path.iterdir()} == {"r.toml", "run"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoints", "recipe.toml"}
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def _interrupting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, name, interrupt)


def test_an_interrupt_before_anything_is_written_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupting(monkeypatch, "write_initial")
    assert run(_asked(world, tmp_path)) == 130
    assert "nothing was written; run the command again" in said(capsys)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]


@pytest.mark.parametrize("place", ["Loop", "render_card"])
def test_an_interrupt_outside_of_the_steps_says_what_is_there(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    asked, out = _asked(world, tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        _interrupting(patch, place)
        assert run(asked) == 130
        told = said(capsys)[1]
        assert f"what was done up to the last checkpoint is in {out}" in told
        assert "hint: run the command again with --resume to go on" in told
        assert "nothing was written" not in told
        # The folder of the first run is replaced, and a second command can only go on.
        assert run([*asked, "--overwrite"]) == 130
        assert "with --resume in the place of --overwrite to go on" in said(capsys)[1]
        assert run([*asked, "--resume"]) == 130
        assert "with --resume to go on" in said(capsys)[1]
    assert run([*asked, "--resume"]) == 0
    assert (out / "model").is_dir()


def test_nothing_of_anyone_else_is_overwritten(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("dear", encoding="utf-8")
    assert run(_asked(world, tmp_path, "--overwrite")) == 2
    assert "is not the folder of a pre-training" in said(capsys)[1]
    assert (tmp_path / "run" / "letter.txt").read_text(encoding="utf-8") == "dear"


@pytest.mark.slow
def test_ctrl_c_and_kill_and_then_going_on_ends_on_the_same_bits(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Long enough that both signals come in the middle on any machine, and cut short in the end.
    asked = _asked(world, tmp_path, steps=4000, checkpoint_every=10, log_every=10)
    out = tmp_path / "run"
    first = _signalled(asked, out, signal.SIGINT)
    assert first.returncode == 130
    assert "a checkpoint was written" in first.stderr
    assert "--resume" in first.stderr
    killed = _signalled([*asked, "--resume"], out, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    state = last_checkpoint(out / "checkpoints")
    assert state is not None
    done = state["step"]
    assert 0 < done < 4000
    # A run that was never stopped, as far as this one came.
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines() if line]
    whole = tmp_path / "whole"
    whole.mkdir()
    _signalled_at(world, whole, done)
    there = last_checkpoint(whole / "run" / "checkpoints")
    assert there is not None
    assert there["step"] == done
    mine, other = state["trainer"]["towers"], there["trainer"]["towers"]
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))


def _signalled(asked: list[str], out: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Runs the command line, and sends it a signal once it has written new checkpoints."""
    before = {path.name for path in (out / "checkpoints").glob("step-*.pt")}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "efface", *asked],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until = time.monotonic() + 60
            while {path.name for path in (out / "checkpoints").glob("step-*.pt")} <= before:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(asked, process.returncode, stdout, stderr)


def _signalled_at(world: World, folder: Path, step: int) -> None:
    """The same run, stopped by Ctrl-C after just as many steps."""
    from efface.pretraining import Interrupted, Options, pretrain, read_recipe
    from tests.pretraining.test_loop import At

    asked = _asked(world, folder, steps=4000, checkpoint_every=10, log_every=10)
    options = Options(reporter=At(step, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(Interrupted):
        pretrain(read_recipe(Path(asked[1])), out=folder / "run", options=options)
