import gc
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from efface import cli
from efface.backends.open_clip import OpenCLIPEncoder
from efface.cli import run
from efface.cli.lines import say
from efface.synthesis.ascent import GradientAscent
from tests.cli.asking import ANSI, forget, said
from tests.worlds import World

# A search for images that would go on for long.
LONG = ("--preset", "paper", "--set", "images=9999", "--set", "synthesis.acceptance_scale=1e-9")
# The evaluation, in which processes decode images.
MEASURED = ("--method", "projection", "--workers", "2", "--batch-size", "1")


def test_nothing_asked_is_answered_with_help_and_the_version_with_the_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([]) == 0
    assert "Removes a class from a CLIP model" in ANSI.sub("", said(capsys)[0])
    assert run(["--version"]) == 0
    assert said(capsys)[0].strip() == version("efface")


# Newer versions of Python warn of a fork where there are threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    ("more", "holder", "name", "number"),
    [
        (LONG, GradientAscent, "step", signal.SIGINT),
        (MEASURED, OpenCLIPEncoder, "embed_image", signal.SIGTERM),
    ],
)
def test_signals_to_all_processes_of_a_command_end_it_in_words_and_leave_nothing(
    world: World, tmp_path: Path, more: tuple[str, ...], holder: type, name: str, number: signal.Signals
) -> None:
    said = tmp_path / "said.txt"
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(holder, name, _signalled(getattr(holder, name), number))
            patch.setattr("efface.cli.say", _signalled(say, number))
            _command(forget(world, tmp_path / "run", *more), said)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130, said.read_text()
    text = said.read_text()
    assert text.splitlines()[-2:] == ["error: interrupted", "hint: nothing was written; run the command again"]
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == [said]


def _signalled(real: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The same after a signal to this process and all that it started."""

    def call(*given: Any, **more: Any) -> Any:
        os.killpg(0, number)
        return real(*given, **more)

    return call


def _command(asked: list[str], said: Path) -> None:
    """A command as from a shell, in a process group of its own; ends this process."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with said.open("w", buffering=1) as sys.stderr:
            os.dup2(sys.stderr.fileno(), 2)
            try:
                cli.main(asked)
            except SystemExit as end:
                code = int(str(end.code))
            except BaseException:  # noqa: BLE001 (looked for in what was said)
                traceback.print_exc()
            gc.collect()
    finally:
        os._exit(code)


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
