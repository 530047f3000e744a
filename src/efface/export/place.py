"""Where a run may be written to. Needs no torch, so that a wrong place is refused before anything heavy loads."""

from pathlib import Path
from typing import Literal, get_args

from efface import hub
from efface.errors import InputError, offer
from efface.paths import named

Format = Literal["transformers", "open_clip"]
"""What a model can be exported to."""

RECORD = "record.json"
"""The file that tells a run folder from any other."""
MODEL, RESULTS = "model", "results"
"""The folders in a run folder: the model, and its scores for other programs."""
PAGE, CARD, SYNTHETIC, RETRIEVED = "report.html", hub.CARD, "synthetic.png", "retrieved.png"
"""What else a run folder holds."""
AUDIT, AUDIT_PARTIAL, AUDIT_AGAIN = "audit.json", "audit.partial.json", "audit.again.json"
"""What an audit of the run found; what one that was stopped had found by then, and one with ``--overwrite``."""
LOG = "runs.jsonl"
"""The log in a folder that several runs share."""
PARTIAL = ".partial"
"""What the working folder beside a run folder is called after it."""


def beside(run: Path) -> Path:
    """The working folder of a run folder."""
    run = named(run)
    return run.parent / f"{run.name}{PARTIAL}"


def check_out(folder: Path, *, overwrite: bool) -> None:
    """Refuses a place that a run cannot be written to; done before the work and again before writing.

    Raises:
        InputError: If it exists and is not to be overwritten, is not a run folder, or lies below a file.
    """
    is_replaceable = folder.is_dir() and (not any(folder.iterdir()) or (folder / RECORD).is_file())
    if not (overwrite and folder.exists()):
        way_out = ", or replace it with --overwrite" if is_replaceable else ""
        check_new(folder, hint=f"choose another --out{way_out}")
    elif not is_replaceable:
        raise InputError(f"{folder} is not a run folder and is not replaced", hint="choose another --out")


def check_parent(path: Path, *, option: str = "--out") -> None:
    """Refuses a file or a folder that cannot be made.

    Raises:
        InputError: If it lies below a file; it says which option named it.
    """
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise InputError(f"{path} cannot be made: {parent} is a file", hint=f"choose another {option}")


def check_file(path: Path, *, option: str, suffix: str) -> None:
    """Refuses a place that a file of this kind is not written to; done before the work.

    Where a name must end as such files do, a slip of the hand replaces neither a record nor a file of a model.

    Args:
        path: may be there already, and is replaced then.
        option: by which the user named it.
        suffix: that the name must have, with its dot.

    Raises:
        InputError: If it is a folder or a device, lies below a file, or has another suffix.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint=f"give {option} a file that ends in {suffix}")
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} does not end in {suffix}", hint=f"give {option} a file that ends in {suffix}")
    # A device, which as root can be replaced too.
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file", hint=f"give {option} a file that ends in {suffix}")
    check_parent(path, option=option)


def check_new(folder: Path, *, hint: str) -> None:
    """Refuses a folder that exists, or that cannot be made.

    Raises:
        InputError: If it exists, with this hint, or lies below a file.
    """
    check_parent(folder)
    if folder.exists():
        raise InputError(f"{folder} exists", hint=hint)


def check_free(folder: Path) -> None:
    """Refuses a folder that has something in it or cannot be made, or a file; done before the work and before writing.

    Raises:
        InputError: If it is so.
    """
    check_parent(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists", hint="choose another --out")


def check_run(folder: Path) -> None:
    """Refuses what is no run folder.

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
