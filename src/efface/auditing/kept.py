"""What an audit found before, in a file: an audit of the same subject goes on from it, one of another is kept off."""

from collections.abc import Mapping
from pathlib import Path

from efface.attacks.run import Tried
from efface.errors import InputError
from efface.report.audit import Subject, read_audit


def partial_of(path: Path) -> Path:
    """The file for what an audit that was stopped had found by then: ``audit.partial.json`` for ``audit.json``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def found_before(path: Path, subject: Subject) -> Mapping[str, Tried]:
    """What audits of a subject found that were written to a file, those that were stopped included.

    Raises:
        InputError: If what lies there is of another subject, and would be lost, or is no audit.
    """
    known: dict[str, Tried] = {}
    for place in filter(Path.is_file, (path, partial_of(path))):
        before = read_audit(place)
        then, now = before.subject.told, subject.told
        other = next((what for what in {**then, **now} if then.get(what) != now.get(what)), None)
        if other is not None:
            raise InputError(
                f"{str(place)!r} holds an audit of another subject: its {other} is {then.get(other)!r}, "
                f"and {now.get(other)!r} is asked for",
                hint="replace it with --overwrite, or move it elsewhere",
            )
        known |= {one.attack: one for one in before.tried}
    return known
