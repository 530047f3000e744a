"""Where a run may be written to. Needs no torch, so that a wrong place is refused before anything heavy loads."""

from pathlib import Path
from typing import Literal, get_args

from efface.errors import InputError, offer

Format = Literal["transformers", "open_clip"]
"""What a model can be exported to."""

RECORD = "record.json"
"""The file that tells a run folder from any other."""
MODEL, RESULTS = "model", "results"
"""The folders in a run folder: the model, and its scores for other programs."""
PAGE, CARD, SYNTHETIC, RETRIEVED = "report.html", "README.md", "synthetic.png", "retrieved.png"
"""What else a run folder holds."""
LOG = "runs.jsonl"
"""The log in a folder that several runs share."""


def check_out(folder: Path, *, overwrite: bool) -> None:
    """Refuses a place that a run cannot be written to; done before the work and again before writing.

    Raises:
        InputError: If it exists and is not to be overwritten, is not a run folder, or lies below a file.
    """
    if not (overwrite and folder.exists()):
        check_new(folder, hint="choose another --out, or replace it with --overwrite")
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / RECORD).is_file()):
        raise InputError(f"{folder} is not a run folder and is not replaced", hint="choose another --out")


def check_parent(folder: Path) -> None:
    """Refuses a folder that cannot be made.

    Raises:
        InputError: If it lies below a file.
    """
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir():
        raise InputError(f"{folder} cannot be made: {parent} is a file", hint="choose another place")


def check_new(folder: Path, *, hint: str) -> None:
    """Refuses a folder that exists, or that cannot be made.

    Raises:
        InputError: If it exists, with this hint, or lies below a file.
    """
    check_parent(folder)
    if folder.exists():
        raise InputError(f"{folder} exists", hint=hint)


def check_file(path: Path) -> None:
    """Refuses a place where a file can neither be made nor replaced.

    Raises:
        InputError: If it is so.
    """
    check_parent(path)
    # Neither a folder nor a device, which as root can be replaced too.
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file", hint="give a file, which need not exist")


def check_free(folder: Path) -> None:
    """Refuses a folder that has something in it or cannot be made, or a file; done before the work and before writing.

    Raises:
        InputError: If it is so.
    """
    check_parent(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists", hint="choose another --out")


def check_run(folder: Path) -> None:
    """Refuses a folder that is no run folder.

    Raises:
        InputError: If it has no record.
    """
    if not (folder / RECORD).is_file():
        raise InputError(f"{str(folder)!r} is not a run folder: it has no {RECORD}", hint="give what --out named")


def check_format(to: str) -> None:
    """Refuses a format that there is not.

    Raises:
        InputError: It says which there are.
    """
    if to not in get_args(Format):
        raise InputError(f"there is no format {to!r}", hint=offer(to, get_args(Format)))


def model_of(source: str) -> str:
    """The name of the model of a run folder; another name stays as it is."""
    folder = Path(source)
    return str(folder / MODEL) if (folder / RECORD).is_file() else source
