"""What an audit found before, in a file: an audit of the same subject goes on from it, one of another is kept off."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.attacks.registry import attack_names
from efface.attacks.run import Tried
from efface.errors import EffaceWarning, InputError
from efface.report.audit import Subject, read_audit
from efface.report.environment import RESTARTED, environment


def partial_of(path: Path, *, again: bool = False) -> Path:
    """The file for what an audit that was stopped had found by then.

    Args:
        path: of the whole audit; ``audit.partial.json`` for ``audit.json``.
        again: of one that is to replace the whole audit: ``audit.again.json``.
    """
    return path.with_name(f"{path.stem}.{'again' if again else 'partial'}{path.suffix}")


def found_before(path: Path, subject: Subject, *, again: bool = False) -> Mapping[str, Tried]:
    """What audits of a subject found that were written to a file, those that were stopped included.

    What was found with other versions of packages, or on another machine, is tried again, with a warning: a document
    says once for all of it what it was found with.

    An attack of another package that failed and is no longer installed is forgotten: nobody could try it again.

    Args:
        path: of the whole audit.
        subject: what is audited now.
        again: whether to count no more than what one found that is to replace what lies there, and was stopped, with
            the same versions of all packages.

    Raises:
        InputError: If what lies there is of another subject, and would be lost, or is no audit.
    """
    known = _replacing(path, subject) if again else _of_subject(path, subject)
    installed = attack_names()
    return {name: one for name, one in known.items() if one.failed is None or name in installed}


def _replacing(path: Path, subject: Subject) -> dict[str, Tried]:
    """What one found that is to replace what lies there; what cannot be used of it is no loss."""
    try:
        before = read_audit(partial_of(path, again=True))
    except (InputError, FileNotFoundError):
        return {}
    is_same = before.subject.told == subject.told and not _other_than_now(before.environment)
    return {one.attack: one for one in before.tried} if is_same else {}


def _of_subject(path: Path, subject: Subject) -> dict[str, Tried]:
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
        others = _other_than_now(before.environment)
        if others:
            _warn_of_others(place, before.environment, others)
        else:
            known |= {one.attack: one for one in before.tried}
    return known


def _other_than_now(then: Mapping[str, str]) -> list[str]:
    """What of the environment is another, as far as what is found depends on it."""
    now = environment()
    return sorted(name for name in {**then, **now} if then.get(name) != now.get(name) and name not in RESTARTED)


def _warn_of_others(place: Path, then: Mapping[str, str], names: Sequence[str]) -> None:
    now = environment()
    first = f"{names[0]} was {then.get(names[0], 'not known')} and is {now.get(names[0], 'not known')}"
    text = f"{str(place)!r} was found in another environment ({first}{', and more' if names[1:] else ''})"
    loss = "its attacks are tried again, and those that are not asked for now are left out"
    warnings.warn(f"{text}: {loss}", EffaceWarning, stacklevel=4)
