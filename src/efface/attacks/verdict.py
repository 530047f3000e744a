"""From what attacks brought back to what is said of the edited model. Pure: rows in, words out.

What a class that was never learned has in an attack is its *floor*: gold's value where there is gold; else what the
attack says of such a class; else nothing for what texts and images answer together, and a share of the original's value
for what images alone show. *Back* is how far the edited model has come from the floor to the original. An attack
*revives* a class where at least half of it is back, and the interval lies wholly above the floor. *Over-forgotten* is
what lies below the floor: a class that always comes last can be told by that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from efface.attacks.base import EDITED, GOLD, REFERENCE, UNKNOWN, Kind, Row
from efface.functional.metrics import difference_interval

Judgement = Literal["revived", "held", "over-forgotten", "untold", "shown"]
"""*untold*: too few images, or too little to bring back, to tell; *shown*: measured, and not judged."""
Word = Literal["not forgotten", "suppressed at the output", "removed from features", "over-forgotten", "nothing told"]
Where = Literal["everywhere", "texts", "last map", "weights", "features", "training", "nowhere"]
"""Where the class still is, the cheapest place to bring it back from; *nowhere*: in none that was tried."""
PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is called what; see docs/attacks.md for what they were fixed on.

    Attributes:
        revived: the share of what was lost that must be back.
        margin: how far above the floor the interval must lie.
        least: how far above the floor the original must lie for anything to be told.
        unknown: of the original's value, what images of a class that was never learned are taken to have where there is
            no gold.
        few: images a class, up to which that is known; with more, without gold, nothing is judged.
        last: the place of a text among all names below which it was pushed there.
        below: how far below gold the interval must lie for a class to be over-forgotten.
    """

    revived: float = 0.5
    margin: float = 0.05
    least: float = 0.2
    unknown: float = 0.7
    few: int = 4
    last: float = 0.05
    below: float = 0.1


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


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attack says, by its settings together."""

    attack: str
    judgement: Judgement
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of the edited model.

    Attributes:
        word: in a word.
        where: where the class still is.
        revived: whether any attack brought it back.
        reasons: why, a sentence each.
        findings: one an attack.
        cases: one a setting.
        with_gold: whether gold stood beside.
    """

    word: Word
    where: Where
    revived: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    cases: tuple[Case, ...]
    with_gold: bool


def judge(rows: Sequence[Row], thresholds: Thresholds | None = None) -> Verdict:
    """What the rows of all attacks say together.

    Args:
        rows: of any attacks, those of ``plain`` among them.
        thresholds: what is called what.
    """
    used = thresholds or Thresholds()
    cases = tuple(_cases(rows, used))
    findings = tuple(_finding(name, [case for case in cases if case.attack == name]) for name in _names(cases))
    where = _where(cases)
    return Verdict(
        word=_word(cases, where),
        where=where,
        revived=any(case.judgement == "revived" for case in cases),
        reasons=(*_reasons(cases, where), *_damage(rows, used)),
        findings=findings,
        cases=cases,
        with_gold=any(row.model == GOLD for row in rows),
    )


def _names(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.attack for case in cases))


def _cases(rows: Sequence[Row], used: Thresholds) -> Iterator[Case]:
    for attack, setting in dict.fromkeys((row.attack, row.setting) for row in rows):
        of = {r.model: r for r in rows if (r.attack, r.setting, r.role) == (attack, setting, "forget")}
        if REFERENCE in of and EDITED in of:
            yield _case(of[REFERENCE], of[EDITED], of.get(GOLD, of.get(UNKNOWN)), used)


def _case(original: Row, edited: Row, floor: Row | None, used: Thresholds) -> Case:
    value = _floor(original, floor, used)
    back: float | None = None
    judgement: Judgement = "shown"
    if value is not None and edited.kind == "level":
        judgement = _place(edited, value, used)
    elif value is not None:
        above = original.value - value
        back = (edited.value - value) / above if above >= used.least else None
        judgement = _judged(original, edited, floor, value, used)
    return Case(
        attack=edited.attack,
        setting=edited.setting,
        kind=edited.kind,
        original=original.value,
        edited=edited.value,
        n=edited.n,
        low=edited.low,
        high=edited.high,
        floor=value,
        back=back,
        judgement=judgement,
        cost=", ".join(f"{name}: {paid}" for name, paid in sorted(edited.cost.items())),
    )


def _floor(original: Row, floor: Row | None, used: Thresholds) -> float | None:
    """What a class that was never learned has here; None where that is not known."""
    if original.kind == "measure":
        return None
    if floor is not None:
        return floor.value
    if original.kind == "level":
        return 0.5
    if original.kind == "output":
        return 0.0
    images = original.cost.get("images a class", original.cost.get("images", 0))
    return None if isinstance(images, int) and images > used.few else used.unknown * original.value


def _place(edited: Row, floor: float, used: Thresholds) -> Judgement:
    return "over-forgotten" if edited.value < used.last and floor - edited.value > used.least else "held"


def _judged(original: Row, edited: Row, floor: Row | None, value: float, used: Thresholds) -> Judgement:
    """Whether enough is back, more than chance; and whether all of it, were it back, could have been told."""
    if original.value - value < used.least or _above(original, floor, value)[0] <= used.margin:
        return "untold"
    low, high = _above(edited, floor, value)
    if edited.value - value >= used.revived * (original.value - value) and low > used.margin:
        return "revived"
    return "over-forgotten" if edited.kind == "features" and floor is not None and high < -used.below else "held"


def _above(row: Row, floor: Row | None, value: float) -> tuple[float, float]:
    """The 95 % interval of how far a value lies above the floor, which has one of its own where it was measured."""
    if floor is None:
        return row.low - value, row.high - value
    return difference_interval((row.value, row.low, row.high), (floor.value, floor.low, floor.high))


def _finding(name: str, cases: Sequence[Case]) -> Finding:
    order: tuple[Judgement, ...] = ("revived", "over-forgotten", "held", "untold")
    for judgement in order:
        found = [case for case in cases if case.judgement == judgement]
        if found:
            return Finding(name, judgement, _said(judgement, found[0]))
    return Finding(name, "shown", "measured, and not judged")


def _said(judgement: Judgement, case: Case) -> str:
    figures = f"{case.setting}: {_percent(case.edited)} %, the original {_percent(case.original)} %"
    if case.floor is not None and judgement != "untold":
        figures += f", never learned {_percent(case.floor)} %"
    price = f"; cost: {case.cost}" if judgement == "revived" and case.cost else ""
    few = "too little to tell by: " if judgement == "untold" else ""
    return f"{few}{figures}{price}"


def _where(cases: Sequence[Case]) -> Where:
    back = [case for case in cases if case.judgement == "revived"]
    names = {case.attack for case in back}
    if PLAIN in names:
        return "everywhere"
    if "towers" in names:
        return "texts"
    if any(case.kind == "features" for case in back) and _is_last_map(cases):
        return "last map"
    if "weights" in names:
        return "weights"
    kinds = {case.kind for case in back}
    return "features" if kinds - {"training"} else "training" if kinds else "nowhere"


def _is_last_map(cases: Sequence[Case]) -> bool:
    """Whether what the image tower has before its last map is as it was, to the last digit, and what follows is not."""
    features = [case for case in cases if case.kind == "features"]
    before = [case for case in features if "penultimate" in case.setting]
    after = [case for case in features if "final" in case.setting]
    return bool(before) and all(c.edited == c.original for c in before) and any(c.edited != c.original for c in after)


def _word(cases: Sequence[Case], where: Where) -> Word:
    told = [case for case in cases if case.judgement in ("revived", "held", "over-forgotten")]
    if where == "everywhere":
        return "not forgotten"
    if where not in ("nowhere", "training"):
        return "suppressed at the output"
    if any(case.judgement == "over-forgotten" for case in told):
        return "over-forgotten"
    return "removed from features" if any(case.kind == "features" for case in told) else "nothing told"


def _reasons(cases: Sequence[Case], where: Where) -> Iterator[str]:
    says = {
        "everywhere": "the model answers with the class as it is",
        "texts": "the image tower answers for the class beside the original's texts: texts were moved, images were not",
        "last map": "image features before the last map are as they were, to the last digit: only that map was changed",
        "weights": "a small change of the weights, without any data, brings the class back",
        "features": "image features still hold the class",
        "training": "a little training brings the class back faster than one that was never learned",
    }
    if where in says:
        yield says[where]
    for name in _names(cases):
        cheapest = next((case for case in cases if case.attack == name and case.judgement == "revived"), None)
        if cheapest is not None:
            yield f"revived by {name}, {_said('revived', cheapest)}"
    for case in cases:
        if case.judgement == "over-forgotten":
            yield f"over-forgotten by {case.attack}, {_said('over-forgotten', case)}"
            break
    if where == "nowhere" and any(case.judgement == "held" for case in cases):
        yield "no attack that could tell brought the class back"
    untold = list(dict.fromkeys(case.attack for case in cases if case.judgement == "untold"))
    if untold:
        yield f"too little to tell by in some settings of {', '.join(untold)}"


def _damage(rows: Sequence[Row], used: Thresholds) -> Iterator[str]:
    """Says so where the class next to it fell as well."""
    of = {r.model: r for r in rows if (r.attack, r.role, r.kind) == (PLAIN, "control", "output")}
    if REFERENCE in of and EDITED in of:
        before, after = ((r.value, r.low, r.high) for r in (of[REFERENCE], of[EDITED]))
        if difference_interval(after, before)[1] < -used.margin:
            fell = f"{_percent(before[0])} to {_percent(after[0])} %"
            yield f"the control, which was not to be forgotten, fell from {fell}: this is damage, not forgetting alone"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
