"""Runs that are killed at any moment end on the bits of one that was not."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.checkpoint_files import KEPT
from efface.errors import EffaceWarning
from tests.cli.asking import forget as arguments
from tests.killing import Killed, Moments, die, forget, raise_killed, told
from tests.worlds import World

STAGES = ("synthesising", "forgetting", "evaluating", "writing")
COMMAND = """
import sys
from efface import checkpoints, cli
checkpoints.EVERY, checkpoints.SHARE = 0.0, float("inf")
cli.main(sys.argv[1:])
"""
LONG = ["--preset", "paper", "--set", "images=8", "--set", "samples=2", "--set", "max_rounds=30"]
LONG += ["--set", "synthesis.acceptance_scale=1", "--set", "synthesis.threshold=0.34", "--set", "learning_rate=1e-6"]
LONG += ["--set", "synthesis.jitter=2"]


@pytest.fixture(scope="module")
def whole(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """A run that nobody stopped, and how many moments each stage has."""
    out, moments = tmp_path_factory.mktemp("whole") / "run", Moments()
    forget(clip, world, out, moments)
    assert [p.name for p in out.parent.iterdir()] == ["run"]
    return out, Counter(moments.seen)


def test_a_run_killed_in_every_stage_ends_on_the_same_bits(
    whole: tuple[Path, Counter[str]], clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    out, moments = whole
    rng = random.Random(1)
    for stage in STAGES:
        with pytest.raises(Killed):
            # In the first half: a run that goes on has fewer moments of a stage that was begun before.
            forget(
                clip,
                world,
                tmp_path / "run",
                Moments(stage, rng.randrange(moments[stage] // 2), raise_killed),
                resume=True,
            )
        assert [p.name for p in tmp_path.iterdir()] == ["run.partial"]
    forget(clip, world, tmp_path / "run", Moments(), resume=True)
    assert told(tmp_path / "run") == told(out)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_killed_at_twenty_moments_in_four_stages_ends_on_the_same_bits(
    whole: tuple[Path, Counter[str]], clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    out, moments = whole
    rng = random.Random(2)
    for stage in STAGES:
        for at in rng.sample(range(moments[stage]), 5):
            folder = tmp_path / f"{stage}-{at}"
            child = os.fork()
            if not child:
                forget(clip, world, folder / "run", Moments(stage, at, die), resume=True)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            is_written = (folder / "run").exists()  # in the very last moments
            assert not is_written or told(folder / "run") == told(out)
            forget(clip, world, folder / "run", Moments(), resume=True, overwrite=is_written)
            assert told(folder / "run") == told(out), (stage, at)
            assert [p.name for p in folder.iterdir()] == ["run"]


@pytest.mark.slow
def test_as_users_have_it_no_more_than_ten_seconds_and_a_batch_are_done_again(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    data = tuple(str(shutil.copytree(world.data, tmp_path / f"pictures-{i}")) for i in range(3))
    passes = ("embed_image",)
    whole = Moments(points=passes, usual=True)
    forget(clip, world, tmp_path / "whole" / "run", whole, data=data)
    moments = Counter(whole.seen)
    # In the last source, before its last batch, and as the very last thing.
    for at in (moments["evaluating"] - 5, moments["evaluating"] - 1):
        out = tmp_path / str(at) / "run"
        with pytest.raises(Killed):
            forget(clip, world, out, Moments("evaluating", at, raise_killed, passes, usual=True), data=data)
        again = Moments(points=passes, usual=True)
        forget(clip, world, out, again, data=data, resume=True)
        assert told(out) == told(tmp_path / "whole" / "run")
        assert set(again.seen) == {"evaluating"}
        # Two models look at a batch, and a moment is before and after.
        assert len(again.seen) <= moments["evaluating"] - at + 10 + 4
        assert [p.name for p in out.parent.iterdir()] == ["run"]


@pytest.mark.slow
def test_a_run_that_replaces_another_goes_on_and_ends_on_the_same_bits(
    whole: tuple[Path, Counter[str]], clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run" / "model" / "of_before.txt").touch()
    with pytest.raises(Killed):
        forget(clip, world, tmp_path / "run", Moments("writing", 9, raise_killed), overwrite=True)
    assert (tmp_path / "run" / "model" / "of_before.txt").exists()
    again = Moments()
    forget(clip, world, tmp_path / "run", again, resume=True, overwrite=True)
    assert told(tmp_path / "run") == told(whole[0])
    assert not {"synthesising", "forgetting"} & set(again.seen)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_loses_nothing(
    whole: tuple[Path, Counter[str]], clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for stage in STAGES:
        # Where a disk says that it is full, after some checkpoints of the stage or some files of the run folder.
        full = Moments(stage, 3, fill, points=("fsync", "write_text"))
        with pytest.raises(OSError, match="No space left"):
            forget(clip, world, tmp_path / "run", full, resume=True)
        assert [p.name for p in tmp_path.iterdir()] == ["run.partial"]
    again = Moments()
    forget(clip, world, tmp_path / "run", again, resume=True)
    assert told(tmp_path / "run") == told(whole[0])
    assert not {"synthesising", "forgetting"} & set(again.seen)


@pytest.mark.slow
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    whole: tuple[Path, Counter[str]], clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        forget(clip, world, tmp_path / "run", Moments("evaluating", 6, raise_killed))
    for stage in ("synthesis", "method"):
        kept = sorted((tmp_path / "run.partial" / stage).iterdir())
        assert len(kept) == KEPT
        kept[-1].write_bytes(kept[-1].read_bytes()[:-1] + b"?")
    with pytest.warns(EffaceWarning) as warned:
        forget(clip, world, tmp_path / "run", Moments(), resume=True)
    assert len([w for w in warned if "is damaged: its bytes do not have the digest" in str(w.message)]) == 2
    assert told(tmp_path / "run") == told(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_to_the_command_leaves_what_resume_goes_on_from(
    world: World, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    asked = [sys.executable, "-c", COMMAND, *arguments(world, tmp_path / "run", *LONG), "--workers", "1"]
    # A shell has what it runs in the background ignore Ctrl-C, and these tests may be run so.
    attended = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(asked, stderr=subprocess.PIPE, text=True, preexec_fn=attended) as process:
        while not list(tmp_path.glob("run.partial/method/*.checkpoint")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1].splitlines()
    assert process.returncode == code
    if number != signal.SIGKILL:
        kept = f"what is done is kept in {tmp_path / 'run.partial'}"
        assert [line for line in said if line.startswith(("error:", "hint:", "Traceback"))] == [
            "error: interrupted",
            f"hint: {kept}: the same command with --resume goes on from there",
        ]
    assert not (tmp_path / "run").exists()
    assert subprocess.run([*asked, "--resume"], stderr=subprocess.DEVNULL, check=False).returncode in (0, 1)
    asked[asked.index(str(tmp_path / "run"))] = str(tmp_path / "whole")
    subprocess.run(asked, stderr=subprocess.DEVNULL, check=False)
    assert told(tmp_path / "run") == told(tmp_path / "whole")
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".runs.jsonl.lock", "run", "runs.jsonl", "whole"]
