"""The folder of a pre-training: what lies where in it, and whether it may be written."""

import tomllib
from pathlib import Path
from typing import Any

from efface.errors import InputError
from efface.export.place import check_parent

RECIPE, LOG, MODEL, CHECKPOINTS, INITIAL = "recipe.toml", "log.jsonl", "model", "checkpoints", "initial"


def check_place(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that cannot be written.

    Args:
        out: need not be there.
        resume: whether a pre-training that was begun there goes on.
        overwrite: whether one may be replaced.

    Raises:
        InputError: If the folder is taken, or no pre-training was begun there.
    """
    if resume and overwrite:
        raise InputError("a run cannot go on and be replaced at once", hint="give --resume or --overwrite")
    check_parent(out)
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not ((out / RECIPE).is_file() and (out / CHECKPOINTS).is_dir())):
        raise InputError(f"{out} is not the folder of a pre-training", hint="choose another --out")
    if not resume and not overwrite:
        raise InputError(
            f"{out} exists", hint="go on with --resume, replace it with --overwrite, or choose another --out"
        )


def begun(out: Path) -> tuple[int, int] | None:
    """What tells the run in a folder from another that replaced it; None where none was begun."""
    try:
        found = (out / RECIPE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def stored_recipe(out: Path) -> dict[str, Any]:
    """The recipe that a folder was begun with, as plain tables."""
    return tomllib.loads((out / RECIPE).read_text(encoding="utf-8"))
