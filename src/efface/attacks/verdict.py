"""From what attacks brought back to what is said of the edited model. Pure: rows in, words out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from efface.attacks.base import EDITED, FINAL_LIKENESS, GOLD, PENULTIMATE_LIKENESS, PLAIN, REFERENCE, TOWERS, Row
from efface.attacks.judging import Case, Judgement, Thresholds, cases_of, interval_of
from efface.functional.metrics import difference_interval

Word = Literal["not forgotten", "suppressed at the output", "removed from features", "over-forgotten", "nothing told"]
Where = Literal["everywhere", "texts", "weights", "last map", "features", "training", "nowhere"]
"""Where the class still is, the cheapest place to bring it back from; *nowhere*: in none that was tried."""
SAYS: Mapping[Where, str] = {
    "everywhere": "the model answers with the class as it is",
    "texts": "the image tower answers for the class beside the original's texts, and its features are as they were: "
    "only texts were moved",
    "weights": "a small change of the weights, without any data, brings the class back",
    "last map": "penultimate features of the class's images are as they were, final ones are not: of the image tower "
    "only what follows them was changed",
    "features": "image features still hold the class",
    "training": "a little training brings the class back faster than one that was never learned",
}


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
        incomplete: the attacks that failed: what they would have said is not known.
    """

    word: Word
    where: Where
    revived: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    cases: tuple[Case, ...]
    with_gold: bool
    incomplete: tuple[str, ...] = ()


def judge(
    rows: Sequence[Row], thresholds: Thresholds | None = None, failed: Mapping[str, str] | None = None
) -> Verdict:
    """What the rows of all attacks say together.

    Args:
        rows: of any attacks, those of ``plain`` among them.
        thresholds: what is called what.
        failed: attacks that broke off, and what broke them.
    """
    used, broken = thresholds or Thresholds(), failed or {}
    cases = tuple(cases_of(rows, used))
    findings = tuple(_finding(name, [case for case in cases if case.attack == name]) for name in _names(cases))
    places = tuple(_places(cases, used))
    where = places[0] if places else "nowhere"
    return Verdict(
        word=_word(cases, where),
        where=where,
        revived=any(case.judgement == "revived" for case in cases),
        reasons=(*_reasons(cases, places), *_damage(rows, used), *_failures(broken)),
        findings=findings,
        cases=cases,
        with_gold=any(row.model == GOLD for row in rows),
        incomplete=tuple(broken),
    )


def _names(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.attack for case in cases))


def _finding(name: str, cases: Sequence[Case]) -> Finding:
    order: tuple[Judgement, ...] = ("revived", "over-forgotten", "held", "untold")
    for judgement in order:
        found = [case for case in cases if case.judgement == judgement]
        if found:
            return Finding(name, judgement, _said(found[0]))
    return Finding(name, "shown", "measured, and not judged")


def _said(case: Case) -> str:
    figures = f"{case.setting}: {_percent(case.edited)} %, the original {_percent(case.original)} %"
    if case.floor is not None:
        figures += f", never learned {_percent(case.floor)} %"
    if case.control is not None:
        figures += f", the control {_percent(case.control[1])} %"
    price = f"; cost: {case.cost}" if case.judgement == "revived" and case.cost else ""
    return f"{case.why}: {figures}" if case.why else f"{figures}{price}"


def _places(cases: Sequence[Case], used: Thresholds) -> Iterator[Where]:
    """Where the class still is, the cheapest place first."""
    back = [case for case in cases if case.judgement == "revived"]
    names, kinds = {case.attack for case in back}, {case.kind for case in back}
    if PLAIN in names:
        yield "everywhere"
        return
    # Not by what attacks find in features, which may be equal by chance, and differ by one: by the features themselves.
    is_same = {case.setting: case.edited >= used.same for case in cases if case.attack == PLAIN}
    before, after = (is_same.get(setting, False) for setting in (PENULTIMATE_LIKENESS, FINAL_LIKENESS))
    if TOWERS in names and after:
        yield "texts"
    if "weights" in names:
        yield "weights"
    if "features" in kinds and before and not after:
        yield "last map"
    elif {case.attack for case in back if case.kind != "training"} - {"weights"} - ({TOWERS} if after else set()):
        # Other words, and the original's texts, find what image features hold, too.
        yield "features"
    elif "training" in kinds:
        yield "training"


def _word(cases: Sequence[Case], where: Where) -> Word:
    told = [case for case in cases if case.judgement in ("revived", "held", "over-forgotten")]
    if where == "everywhere":
        return "not forgotten"
    if where not in ("nowhere", "training"):
        return "suppressed at the output"
    if any(case.judgement == "over-forgotten" for case in told):
        return "over-forgotten"
    return "removed from features" if any(case.kind == "features" for case in told) else "nothing told"


def _reasons(cases: Sequence[Case], places: Sequence[Where]) -> Iterator[str]:
    yield from (SAYS[place] for place in places)
    for name in _names(cases):
        cheapest = next((case for case in cases if case.attack == name and case.judgement == "revived"), None)
        if cheapest is not None:
            yield f"revived by {name}, {_said(cheapest)}"
    for case in cases:
        if case.judgement == "over-forgotten":
            yield f"over-forgotten by {case.attack}, {_said(case)}"
            break
    # The place of a text is no attempt to bring the class back.
    if not places and any(case.judgement == "held" and case.kind != "level" for case in cases):
        yield "no attack that could tell brought the class back"
    for why in dict.fromkeys(case.why for case in cases if case.why):
        names = dict.fromkeys(case.attack for case in cases if case.why == why)
        yield f"{why} in some settings of {', '.join(names)}"


def _damage(rows: Sequence[Row], used: Thresholds) -> Iterator[str]:
    """Says so where the class next to it fell as well."""
    of = {r.model: r for r in rows if (r.attack, r.role, r.kind) == (PLAIN, "control", "output")}
    if REFERENCE in of and EDITED in of:
        before, after = interval_of(of[REFERENCE]), interval_of(of[EDITED])
        if difference_interval(after, before)[1] < -used.margin:
            fell = f"{_percent(before[0])} to {_percent(after[0])} %"
            yield f"the control, which was not to be forgotten, fell from {fell}: this is damage, not forgetting alone"


def _failures(failed: Mapping[str, str]) -> Iterator[str]:
    yield from (f"incomplete: {name} failed, and says nothing: {problem}" for name, problem in failed.items())


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
