"""The log of a folder that several runs share."""

import warnings
from pathlib import Path

from filelock import FileLock

from efface.errors import EffaceError, EffaceWarning
from efface.export.place import LOG, RECORD
from efface.records.log import entries, extended
from efface.report.document import Sealed, read
from efface.whole import written_whole

_PATIENCE = 60
"""Seconds to wait for another run that writes its line."""


def note_run(folder: Path, sealed: Sealed) -> None:
    """Adds a run to the log of the folder that it lies in, which begins with the second run there.

    A log that is broken, or cannot be written, is left as it is, with a warning: the run counts for more than its line.
    """
    folder = folder.absolute()
    log = folder.parent / LOG
    if not log.is_file() and not _others(folder):
        return
    try:
        with FileLock(log.with_name(f".{LOG}.lock"), timeout=_PATIENCE):
            _extend(log, folder, sealed)
    except (ValueError, OSError) as error:
        state = "cannot be written" if isinstance(error, OSError) else "is broken"
        warnings.warn(f"{log} {state}, and {folder} was not added: {error}", EffaceWarning, stacklevel=2)


def _extend(log: Path, folder: Path, sealed: Sealed) -> None:
    is_new = not log.is_file()
    text = "" if is_new else _read(log)
    # Of two runs that begin a log at once the second finds itself in it already.
    known = {(entry.run, entry.sha256) for entry in entries(text)}
    for name, record in (*(_others(folder) if is_new else ()), (folder.name, sealed)):
        if (name, record.sha256) not in known:
            text = extended(text, name, record.sha256, record.created)
    with written_whole(log) as partial:
        partial.write_bytes(text.encode("utf-8"))


def _read(log: Path) -> str:
    """As it is: reading a text would take other ends of lines for the same."""
    return log.read_bytes().decode("utf-8")


def log_problems(folder: Path, sealed: Sealed) -> list[str]:
    """What the log beside a run says against it; nothing where there is no log or the run is not in it."""
    log = folder.absolute().parent / LOG
    if not log.is_file():
        return []
    try:
        found = [entry for entry in entries(_read(log)) if entry.run == folder.absolute().name]
    except ValueError as error:
        return [f"{LOG} beside the run is broken: {error}"]
    if found and found[-1].sha256 != sealed.sha256:
        return [f"{LOG} beside the run has a record with the sha256 {found[-1].sha256}, this one has {sealed.sha256}"]
    return []


def _others(folder: Path) -> list[tuple[str, Sealed]]:
    """The runs beside this one, the oldest first; those whose record cannot be read are left out."""
    found = []
    for path in folder.parent.glob(f"*/{RECORD}"):
        if path.parent != folder and not path.parent.name.startswith("."):
            try:
                found.append((path.parent.name, read(path)))
            except EffaceError:
                continue
    return sorted(found, key=lambda run: (run[1].created, run[0]))
