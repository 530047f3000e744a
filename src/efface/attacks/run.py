"""Attacks one after the other, so that what was tried stays when the rest is stopped, or one of them breaks."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from pydantic import TypeAdapter, ValidationError

from efface.attacks.base import PLAIN, Asked, Attack, NotTried, Row
from efface.errors import EffaceError
from efface.records.fields import Amount
from efface.types import Reporter

_ROWS = TypeAdapter(tuple[Row, ...])


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one attack.

    Attributes:
        attack: its name.
        summary: what it does.
        tells: what is known of a model in which it brings the class back.
        settings: as text.
        seconds: that it took.
        rows: what it found; none where it could not be tried, or failed.
        lacked: why it could not; None where it was.
        failed: what broke it; None where nothing did. It says nothing then, and the verdict is without it.
    """

    attack: str
    summary: str
    tells: str
    settings: str
    seconds: Amount
    rows: tuple[Row, ...]
    lacked: str | None = None
    failed: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it was tried to its end."""
        return self.lacked is None and self.failed is None


class WrongRowsError(EffaceError):
    """What an attack hands back is none of what it should be."""


def run_attacks(
    asked: Asked,
    attacks: Sequence[Attack],
    *,
    rng: Callable[[str], torch.Generator],
    known: Mapping[str, Tried],
    note: Callable[[tuple[Tried, ...]], None],
    reporter: Reporter,
) -> tuple[Tried, ...]:
    """Tries every attack that is not known yet with these settings; one that breaks is noted, and the next one tried.

    What breaks ``plain``, which asks for no more than images and texts, would break all: it is raised.

    Args:
        asked: what it is tried on.
        attacks: in this order.
        rng: the random numbers of an attack, by its name: they do not depend on which others are tried.
        known: what came of attacks before, by their names; it must be of the same models, images and seed.
        note: told after each attack of all that is known by then.
        reporter: told how far it is.

    Returns:
        What came of the attacks, and before them of those that were known and are not asked for.
    """
    found = {name: tried for name, tried in known.items() if name not in {attack.name for attack in attacks}}
    with reporter.stage("attacks", len(attacks)) as advance:
        for attack in attacks:
            before = known.get(attack.name)
            # What could not be tried may be now, with what was not there before.
            is_known = before is not None and before.settings == str(attack) and before.is_whole
            found[attack.name] = before if before is not None and is_known else _tried(attack, asked, rng, reporter)
            if not is_known:
                note(tuple(found.values()))
            advance(1)
    return tuple(found.values())


def _tried(attack: Attack, asked: Asked, rng: Callable[[str], torch.Generator], reporter: Reporter) -> Tried:
    started, rows = time.perf_counter(), tuple[Row, ...]()
    lacked: str | None = None
    failed: str | None = None
    try:
        rows = _checked(attack, attack.run(asked, rng=rng(attack.name), reporter=reporter))
    except NotTried as error:
        lacked = f"{error}; {error.hint}"
    except Exception as error:
        if attack.name == PLAIN:
            raise
        failed = f"{type(error).__name__}: {error}".rstrip(": ")
    seconds = round(time.perf_counter() - started, 3)
    return Tried(attack.name, attack.summary, attack.tells, str(attack), seconds, rows, lacked, failed)


def _checked(attack: Attack, found: Iterable[object]) -> tuple[Row, ...]:
    """The rows of an attack, after making sure that they can be judged and written down."""
    given, hint = tuple(found), "see efface.attacks.base.Row"
    rows = tuple(row for row in given if isinstance(row, Row))
    if len(rows) < len(given):
        kind = next(type(row).__name__ for row in given if not isinstance(row, Row))
        raise WrongRowsError(f"its rows cannot be used: one is a {kind}", hint=hint)
    try:
        rows = _ROWS.validate_python([asdict(row) for row in rows])
        json.dumps([asdict(row) for row in rows])
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise WrongRowsError(f"its rows cannot be used: {error}", hint=hint) from None
        first = error.errors()[0]
        problem = f"its rows cannot be used: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise WrongRowsError(problem, hint=hint) from None
    stranger = next((row.attack for row in rows if row.attack != attack.name), None)
    if stranger is not None:
        raise WrongRowsError(f"its rows are of {stranger!r}", hint=f"call them {attack.name!r}")
    return rows
