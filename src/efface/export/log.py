"""The log of a folder that several runs share."""

import warnings
from pathlib import Path

from filelock import FileLock

from efface.errors import EffaceError, EffaceWarning
from efface.export.place import LOG, RECORD
from efface.records.log import entries, extended
from efface.report.document import Sealed, read
from efface.whole import written_whole


def note_run(folder: Path, sealed: Sealed) -> None:
    """Adds a run to the log of the folder that it lies in, which begins with the second run there.

    A log that is broken or cannot be written is left as it is, with a warning: the run counts for more than its line.
    """
    try:
        _extend(folder, sealed)
    except (ValueError, OSError) as error:
        log = folder.absolute().parent / LOG
        state = "cannot be written" if isinstance(error, OSError) else "is broken"
        warnings.warn(f"{log} {state}, and {folder} was not added: {error}", EffaceWarning, stacklevel=2)


def _extend(folder: Path, sealed: Sealed) -> None:
    """Adds a line for a run.

    Raises:
        ValueError: If the log is none.
        OSError: If it cannot be read or written.
    """
    shared = folder.absolute().parent
    log = shared / LOG
    known = [] if log.is_file() else _others(folder.absolute())
    if not known and not log.is_file():
        return
    with FileLock(shared / f".{LOG}.lock"):
        text = log.read_text(encoding="utf-8") if log.is_file() else ""
        for name, record in (*known, (folder.absolute().name, sealed)):
            text = extended(text, name, record.sha256, record.created)
        with written_whole(log) as partial:
            partial.write_text(text, encoding="utf-8")


def log_problems(folder: Path, sealed: Sealed) -> list[str]:
    """What the log beside a run says against it; nothing where there is no log or the run is not in it."""
    log = folder.absolute().parent / LOG
    if not log.is_file():
        return []
    try:
        found = [entry for entry in entries(log.read_text(encoding="utf-8")) if entry.run == folder.absolute().name]
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
