import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from efface import cli
from efface.cli import run
from tests.cli.asking import ANSI, forget, said
from tests.worlds import World

# The command, in a process of its own that gets Ctrl-C's signal once the search for images takes its first step.
INTERRUPTED = """
import signal, sys
from efface import cli
from efface.synthesis.ascent import GradientAscent

def step(*given, **more):
    signal.raise_signal(signal.SIGINT)
    return real(*given, **more)

real, GradientAscent.step = GradientAscent.step, step
# A process that a shell starts in the background ignores the signal, and so does what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.main())
"""


def test_nothing_asked_is_answered_with_help_and_the_version_with_the_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([]) == 0
    assert "Removes a class from a CLIP model" in ANSI.sub("", said(capsys)[0])
    assert run(["--version"]) == 0
    assert said(capsys)[0].strip() == version("efface")


def test_ctrl_c_ends_in_words_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    # A search for images that would go on for long, interrupted in its first attempt.
    slow = ["--set", "images=9999", "--set", "synthesis.threshold=0.99", "--set", "synthesis.acceptance_scale=1e-9"]
    asked = [sys.executable, "-c", INTERRUPTED, *forget(world, tmp_path / "run", *slow)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    out, err = done.stdout, done.stderr
    assert done.returncode == 130, err
    assert "error: interrupted" in ANSI.sub("", err)
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["forget", "--class", "dog"]) == 2
    assert said(capsys)[1].startswith("error: missing option '--model'")


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (OSError(28, "No space left on device", "/x"), 2, "/x: No space left on device"),
        (KeyboardInterrupt(), 130, "int"),
    ],
)
def test_a_full_disk_and_an_interrupt_end_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, text: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "app", fail)
    assert run(["methods"]) == code
    assert text in said(capsys)[1]


def test_help_and_what_is_no_run_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").touch()
    wrong = (
        ["report", "."],
        ["report", "run", "--against", "."],
        ["report", "run", "--out", "run"],
        ["check", "--model", "x.pt", "--against", "."],
        ["push", ".", "--repo", "me/clip"],
        ["push", "run", "--repo", "clip"],
    )
    code = f"from efface.cli import run; import sys; run(['--help']); found = [run(one) for one in {wrong}]; "
    code += "print(*found); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "forget" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 2 2 2 2 2"
    assert done.stderr.count("is not a run folder") == 4
