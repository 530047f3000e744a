"""Attacks one after the other, so that what was tried stays when the rest is stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from efface.attacks.base import Asked, Attack, NotTried, Row
from efface.records.fields import Amount
from efface.types import Reporter


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one attack.

    Attributes:
        attack: its name.
        summary: what it does.
        tells: what is known of a model in which it brings the class back.
        settings: as text.
        seconds: that it took.
        rows: what it found; none where it could not be tried.
        lacked: why it could not; None where it was.
    """

    attack: str
    summary: str
    tells: str
    settings: str
    seconds: Amount
    rows: tuple[Row, ...]
    lacked: str | None = None


def run_attacks(
    asked: Asked,
    attacks: Sequence[Attack],
    *,
    rng: Callable[[str], torch.Generator],
    known: Mapping[str, Tried],
    note: Callable[[tuple[Tried, ...]], None],
    reporter: Reporter,
) -> tuple[Tried, ...]:
    """Tries every attack that is not known yet with these settings.

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
            # What could not be tried may be now, with images that were not there before.
            is_known = before is not None and before.settings == str(attack) and before.lacked is None
            found[attack.name] = before if before is not None and is_known else _tried(attack, asked, rng, reporter)
            if not is_known:
                note(tuple(found.values()))
            advance(1)
    return tuple(found.values())


def _tried(attack: Attack, asked: Asked, rng: Callable[[str], torch.Generator], reporter: Reporter) -> Tried:
    started, lacked, rows = time.perf_counter(), None, tuple[Row, ...]()
    try:
        rows = attack.run(asked, rng=rng(attack.name), reporter=reporter)
    except NotTried as error:
        lacked = f"{error}; {error.hint}"
    seconds = round(time.perf_counter() - started, 3)
    return Tried(attack.name, attack.summary, attack.tells, str(attack), seconds, rows, lacked)
