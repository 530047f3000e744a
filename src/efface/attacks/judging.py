"""One attack in one setting, judged: rows of all models and both classes in, a case out.

What a class that was never learned has in an attack is its *floor*: gold's value where there is gold; else what a name
that was never learned has in the edited model, where the attack says so; else nothing for what texts and images answer
together, and a share of the original's value for what images alone show, as long as there are enough other classes to
be told apart from: from one or two any class is. *Back* is how far the edited model has come
from the floor to the original. An attack *revives* a class where at least half of it is back, and the interval lies
wholly above the floor, and above what a name that was never learned comes to in the same model: an attack that teaches
any name revives none. *Over-forgotten* is what lies below the floor: a class that always comes last can be told by
that. Where the control, which was to stay, fell as far as the class, the model is damaged, and nothing is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from efface.attacks.base import EDITED, GOLD, PLAIN, REFERENCE, TOWERS, UNKNOWN, Kind, Role, Row
from efface.functional.metrics import difference_interval

Judgement = Literal["revived", "held", "over-forgotten", "untold", "shown"]
"""*untold*: too few images, too little to bring back, or a control did the same; *shown*: measured, not judged."""
FEW, FEW_CLASSES, ANY_NAME, DAMAGE, ELSEWHERE = (
    "too little to tell by",
    "too few classes beside it to tell by",
    "a name that was never learned comes as far",
    "the control, which was to stay, fell as far",
    "the original's texts do not find the control, which was to stay: the image tower is no longer of their space",
)
"""Why a case is untold."""
Interval = tuple[float, float, float]
"""A value, and the ends of its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is called what. They were chosen beforehand; benchmarks/audit.py counts errors with these and with others.

    Attributes:
        revived: the share of what was lost that must be back.
        margin: how far above the floor the interval must lie.
        least: how far above the floor the original must lie for anything to be told.
        unknown: of the original's value, what images of a class that was never learned are taken to have where nothing
            measured it.
        classes: from how many others a class must be told apart, by images or by names, for that to be known.
        few: images a class, up to which that is known; with more, where nothing measured it, nothing is judged.
        last: the place of a text among all names below which it was pushed there.
        below: how far below the floor the interval must lie for a class to be over-forgotten.
        same: likeness of features to the original's, from which on they are as they were.
    """

    revived: float = 0.5
    margin: float = 0.05
    least: float = 0.2
    unknown: float = 0.7
    classes: int = 10
    few: int = 4
    last: float = 0.05
    below: float = 0.1
    same: float = 0.999


@dataclass(frozen=True, slots=True)
class Case:
    """One attack in one setting, judged.

    Attributes:
        attack: its name.
        setting: what was tried.
        kind: how it is judged.
        original: the reference's value.
        edited: the edited model's.
        n: of how many images, or texts, the latter is.
        low: lower end of its 95 % interval.
        high: upper end.
        floor: what a class that was never learned has; None where nobody knows.
        back: how far the edited model has come from the floor to the original; None where that is not judged.
        judgement: what that is called.
        cost: what the attacker paid, in words.
        control: the original's and the edited model's value for the control; None where the attack has none.
        why: what makes it untold; empty for other judgements.
    """

    attack: str
    setting: str
    kind: Kind
    original: float
    edited: float
    n: int
    low: float
    high: float
    floor: float | None
    back: float | None
    judgement: Judgement
    cost: str
    control: tuple[float, float] | None = None
    why: str = ""


Rows = Mapping[tuple[str, Role], Row]
"""Of one attack in one setting, by model and role."""


def cases_of(rows: Sequence[Row], used: Thresholds) -> Iterator[Case]:
    """Every setting of every attack that has rows of the class in the original and in the edited model."""
    for attack, setting in dict.fromkeys((row.attack, row.setting) for row in rows):
        of = {(r.model, r.role): r for r in rows if (r.attack, r.setting) == (attack, setting)}
        if (REFERENCE, "forget") in of and (EDITED, "forget") in of:
            yield _case(of, used)


def _case(of: Rows, used: Thresholds) -> Case:
    original, edited = of[REFERENCE, "forget"], of[EDITED, "forget"]
    measured = of.get((GOLD, "forget")) or next(iter(_never_learned(of)), None)
    floor = _floor(original, measured, used)
    above = None if floor is None or edited.kind == "level" else original.value - floor
    judgement: Judgement = "shown"
    why = ""
    if floor is not None:
        judgement, why = _judged(of, measured, floor, used)
    elif _has_few_classes(original, measured, used):
        judgement, why = "untold", FEW_CLASSES
    controls = [of[model, "control"].value for model in (REFERENCE, EDITED) if (model, "control") in of]
    return Case(
        attack=edited.attack,
        setting=edited.setting,
        kind=edited.kind,
        original=original.value,
        edited=edited.value,
        n=edited.n,
        low=edited.low,
        high=edited.high,
        floor=floor,
        back=(edited.value - floor) / above
        if above is not None and floor is not None and above >= used.least
        else None,
        judgement=judgement,
        cost=", ".join(f"{name}: {paid}" for name, paid in sorted(edited.cost.items())),
        control=(controls[0], controls[1]) if len(controls) == 2 else None,
        why=why,
    )


def _never_learned(of: Rows) -> Iterator[Row]:
    """What a name that was never learned has in the edited model, as far as the attack says so."""
    if (UNKNOWN, "forget") in of:
        yield of[UNKNOWN, "forget"]
    # Where weights are trained, the control stands under such a name.
    if (EDITED, "control") in of and of[EDITED, "control"].kind == "training":
        yield of[EDITED, "control"]


def _floor(original: Row, measured: Row | None, used: Thresholds) -> float | None:
    """What a class that was never learned has here; None where that is not known."""
    if original.kind == "measure" or _has_few_classes(original, measured, used):
        return None
    if measured is not None:
        return measured.value
    if original.kind == "level":
        return 0.5
    if original.kind == "output":
        return 0.0
    images = original.cost.get("images a class", original.cost.get("images", 0))
    return None if isinstance(images, int) and images > used.few else used.unknown * original.value


def _has_few_classes(original: Row, measured: Row | None, used: Thresholds) -> bool:
    """Whether what is assumed of a class that was never learned is not known, as any is told from so few others."""
    is_assumed = measured is None and original.kind in ("features", "level")
    return is_assumed and original.others is not None and original.others < used.classes


def _judged(of: Rows, measured: Row | None, floor: float, used: Thresholds) -> tuple[Judgement, str]:
    """The judgement, and why nothing is told where it is that."""
    original, edited = of[REFERENCE, "forget"], of[EDITED, "forget"]
    found: Judgement = "held"
    if _is_as_it_was(of, used):
        found = "revived"
    elif _is_below(edited, measured, floor, used):
        found = "over-forgotten"
    elif edited.kind == "level":
        return "held", ""
    elif original.value - floor < used.least or _above(original, measured, floor)[0] <= used.margin:
        # All of it, were it back, could not be told.
        by_floor = original.value >= used.least and measured in tuple(_never_learned(of))
        return "untold", ANY_NAME if by_floor else FEW
    elif edited.value - floor >= used.revived * (original.value - floor):
        if not all(_above(edited, row, row.value)[0] > used.margin for row in _never_learned(of)):
            return "untold", ANY_NAME
        if _above(edited, measured, floor)[0] <= used.margin:
            return "untold", FEW
        found = "revived"
    return _by_control(found, of, used)


def _by_control(found: Judgement, of: Rows, used: Thresholds) -> tuple[Judgement, str]:
    """The judgement, unless what became of the control takes it back; and why."""
    is_spoilt, why = (_is_elsewhere, ELSEWHERE) if found == "revived" else (_is_damage, DAMAGE)
    return ("untold", why) if is_spoilt(of, used) else (found, "")


def _is_as_it_was(of: Rows, used: Thresholds) -> bool:
    """Whether the model answers with the class as the original does.

    Among few names one that means nothing may be answered as often, as no other fits; that takes nothing from it.
    """
    original, edited, gold = of[REFERENCE, "forget"], of[EDITED, "forget"], of.get((GOLD, "forget"))
    if (edited.attack, edited.kind) != (PLAIN, "output") or original.value < used.least:
        return False
    floor = 0.0 if gold is None else gold.value
    is_back = edited.value - floor >= used.revived * (original.value - floor)
    return is_back and _above(edited, gold, floor)[0] > used.margin and _change(edited, original)[2] >= 0


def _is_below(edited: Row, measured: Row | None, floor: float, used: Thresholds) -> bool:
    """Whether the class has less than one that was never learned."""
    high = _above(edited, measured, floor)[1]
    if edited.kind == "level":
        return edited.value < used.last and high < -used.below
    return edited.kind == "features" and measured is not None and high < -used.below


def _is_elsewhere(of: Rows, used: Thresholds) -> bool:
    """Whether an image tower and the original's texts no longer share a space, in which any class may come first.

    So it is with a tower that was trained anew: all that the original's texts find by it is chance.
    """
    before, after = (of.get((model, "control")) for model in (REFERENCE, EDITED))
    if before is None or after is None or after.attack != TOWERS:
        return False
    return after.value < used.revived * before.value and _change(after, before)[2] < -used.margin


def _is_damage(of: Rows, used: Thresholds) -> bool:
    """Whether the control fell too, and the class is not known to have fallen further."""
    kind, control = of[EDITED, "forget"].kind, [of.get((model, "control")) for model in (EDITED, REFERENCE)]
    if kind not in ("output", "features", "level") or None in control:
        return False
    fall, of_control = (_change(of[EDITED, role], of[REFERENCE, role]) for role in ("forget", "control"))
    return of_control[2] < -used.margin and difference_interval(fall, of_control)[1] >= 0


def _change(after: Row, before: Row) -> Interval:
    return (after.value - before.value, *difference_interval(interval_of(after), interval_of(before)))


def _above(row: Row, floor: Row | None, value: float) -> tuple[float, float]:
    """The 95 % interval of how far a value lies above the floor, which has one of its own where it was measured."""
    if floor is None:
        return row.low - value, row.high - value
    return difference_interval(interval_of(row), interval_of(floor))


def interval_of(row: Row) -> Interval:
    """The value of a row, and the ends of its interval."""
    return row.value, row.low, row.high
