"""Two runs side by side, as one HTML page that opens without a network."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from efface.evaluation.base import Metric, Score, Split, Towers
from efface.evaluation.collateral import ClassChange
from efface.report.page import names_of_data, page_environment
from efface.report.record import Record
from efface.report.rows import by_class, score_rows, statement

_CLASSES = 12


@dataclass(frozen=True, slots=True)
class Pairing:
    """One measurement of two runs: before, and after each; None for what was not measured."""

    data: str
    split: Split
    metric: Metric
    towers: Towers
    before: Score | None
    after: tuple[Score | None, Score | None]


@dataclass(frozen=True, slots=True)
class ClassPairing:
    """One class in two runs.

    Attributes:
        changes: what happened to it in each.
        apart: whether the two intervals have nothing in common.
    """

    changes: tuple[ClassChange, ClassChange]
    apart: bool

    @property
    def difference(self) -> float:
        """The change of the second less that of the first."""
        return self.changes[1].value - self.changes[0].value


def render_comparison(runs: tuple[Record, Record], names: tuple[str, str]) -> str:
    """A page about two runs.

    Args:
        runs: the records.
        names: what the runs are called, their folders' names say.
    """
    used = {
        name: {one.source: (one.sha256, one.manifest, dict(one.where), one.n) for one in run.data}
        for name, run in zip("ab", runs, strict=True)
    }
    pairings = list(paired_scores(runs))
    by_data: dict[str, list[Pairing]] = {}
    for pairing in pairings:
        by_data.setdefault(pairing.data, []).append(pairing)
    return (
        page_environment()
        .get_template("compare.html.j2")
        .render(
            runs=list(zip(names, runs, map(statement, runs), strict=True)),
            names=names_of_data(runs[0]) | names_of_data(runs[1]),
            same_base=runs[0].weights.base == runs[1].weights.base,
            same_target=runs[0].target == runs[1].target,
            other_data=sorted(
                data for data in used["a"].keys() & used["b"].keys() if used["a"][data] != used["b"][data]
            ),
            settings=list(differing(asked(runs[0]), asked(runs[1]))),
            scores=by_data,
            classes=paired_classes(runs)[:_CLASSES],
        )
    )


def paired_scores(runs: tuple[Record, Record]) -> Iterator[Pairing]:
    """Top-1 accuracy, recall and lookup of both runs, with both towers edited, where either was measured."""
    found = [{(r.data, r.split, r.metric, r.towers): r for r in score_rows(run, ["both"])} for run in runs]
    for key in dict.fromkeys((*found[0], *found[1])):
        rows = [rows.get(key) for rows in found]
        before = next((row.before for row in rows if row is not None), None)
        after = tuple(None if row is None else row.after for row in rows)
        yield Pairing(*key, before, (after[0], after[1]))


def paired_classes(runs: tuple[Record, Record]) -> list[ClassPairing]:
    """The classes of sources that both were measured on, those that differ most first.

    Each interval is of a run's own images before and after. Whether the *difference* of two runs is more than chance
    is not told by them; that they have nothing in common is a stricter question.
    """
    first, second = (by_class(run.classes.changes) for run in runs)
    pairs = [(first[key], second[key]) for key in first if key in second]
    found = [ClassPairing((a, b), a.high < b.low or b.high < a.low) for a, b in pairs]
    return sorted(found, key=lambda pair: (not pair.apart, -abs(pair.difference)))


def asked(record: Record) -> dict[str, Any]:
    """What was asked for, under one name each."""
    wanted = ("model", "target", "method", "preset", "seed", "device", "precision", "templates")
    plain = {name: asdict(record)[name] for name in wanted}
    return plain | {"class names": len(record.among)} | {f"setting {k}": v for k, v in record.settings.items()}


def differing(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What two mappings do not agree in, as text."""
    for name in dict.fromkeys((*first, *second)):
        one, other = ("" if name not in of else _text(of[name]) for of in (first, second))
        if one != other:
            yield name, one, other


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
