"""What the README shows is what works: its Python lines are run, its options exist."""

import re
import shutil
from pathlib import Path

import pytest

from efface.cli import run
from tests.worlds import World, write_world

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A working folder with the names that the README uses."""
    world = write_world(tmp_path / "world", names=("monarch", "tabby", "pizza"))
    shutil.move(tmp_path / "world" / "clip", tmp_path / "CLIP")
    # The README says val.parquet; a folder of class folders is a source like any other.
    shutil.move(tmp_path / "world" / "pictures", tmp_path / "val.parquet")
    shutil.move(tmp_path / "world" / "names.txt", tmp_path / "classnames.txt")
    monkeypatch.chdir(tmp_path)
    return world


def test_the_python_lines_run(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("True the class's own direction was damped")
    assert "forget acc1 both" in out
    assert Path("runs/monarch/report.html").is_file()


def test_the_commands_run(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^efface (forget .*--out .*|evaluate .*|verify .*)$", README, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        # The quick method: what lip does on a random model is no matter here.
        more = ["--method", "projection"] if command.startswith("forget") else []
        assert run([*command.split(), *more, "--workers", "0"]) == 0, capsys.readouterr().err


def test_every_option_that_it_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", README)) - {"--group"}
    known = ""
    for command in (
        "demo",
        "forget",
        "evaluate",
        "audit",
        "export",
        "report",
        "verify",
        "sign",
        "check",
        "push",
        "methods",
    ):
        run([command, "--help"])
        known += capsys.readouterr().out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", known)
    assert named <= set(re.findall(r"--[a-z-]+", plain))
