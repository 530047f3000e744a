"""What the tests of the commands share: a main job to ask for, and what was said."""

import re
from pathlib import Path

import pytest

from tests.worlds import World

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def forget(world: World, out: Path, *more: str) -> list[str]:
    """The arguments that forget the dog of a small world."""
    asked = ["forget", "--model", world.model, "--class", "dog", "--classnames", world.names, "--workers", "0"]
    return [*asked, "--eval", world.data, "--out", str(out), *more]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Standard output, and standard error without its colors."""
    out, err = capsys.readouterr()
    return out, ANSI.sub("", err)
