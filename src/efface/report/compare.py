"""Two runs side by side, as one HTML page that opens without a network."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from efface.evaluation.base import Change, ClassScore, Metric, Score, Split, Towers
from efface.evaluation.collateral import ClassChange
from efface.report.page import names_of_data, page_environment
from efface.report.record import ClassScores, DataUsed, Record, Scores
from efface.report.rows import by_class, score_rows, statement

T = TypeVar("T", Score, Change, ClassScore, ClassChange)

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
    said = list(zip(names, runs, map(statement, runs), strict=True))
    aligned = with_common_names(runs)
    counts = [{used.source: used.n for used in run.data} for run in aligned]
    by_data: dict[str, list[Pairing]] = {}
    for pairing in paired_scores(aligned):
        by_data.setdefault(pairing.data, []).append(pairing)
    return (
        page_environment()
        .get_template("compare.html.j2")
        .render(
            runs=said,
            names=names_of_data(*aligned),
            same_base=runs[0].weights.base == runs[1].weights.base,
            same_target=set(runs[0].names) == set(runs[1].names),
            other_images=sorted(data for data in counts[0].keys() & counts[1] if counts[0][data] != counts[1][data]),
            apart=sorted(counts[0].keys() ^ counts[1]),
            settings=list(differing(asked(runs[0]), asked(runs[1]))),
            scores=by_data,
            classes=paired_classes(aligned)[:_CLASSES],
        )
    )


def with_common_names(runs: tuple[Record, Record]) -> tuple[Record, Record]:
    """The records, in which equal sources have one name, and others have two.

    Equal are sources of the same bytes, labels and class names, chosen from in the same way, wherever they lie.
    """
    known = {_identity(used): used.source for used in runs[0].data}
    taken = set(known.values())
    names = {
        used.source: known.get(_identity(used), f"{used.source} (second run)" if used.source in taken else used.source)
        for used in runs[1].data
    }
    second, scores, classes = runs[1], runs[1].scores, runs[1].classes
    return runs[0], replace(
        second,
        data=tuple(replace(used, source=names[used.source]) for used in second.data),
        scores=Scores(_renamed(scores.before, names), _renamed(scores.after, names)),
        changes=_renamed(second.changes, names),
        classes=ClassScores(*(_renamed(getattr(classes, f), names) for f in ("before", "after", "changes"))),
    )


def paired_scores(runs: tuple[Record, Record]) -> Iterator[Pairing]:
    """Top-1 accuracy, recall and lookup of both runs, with both towers edited, where either was measured.

    Where the two forgot other classes, the images of the class are others, and so are all but these.
    """
    alike = set(runs[0].names) == set(runs[1].names)
    found = [{(r.data, r.split, r.metric, r.towers): r for r in score_rows(run, ["both"])} for run in runs]
    for key in dict.fromkeys((*found[0], *found[1])):
        if not alike and key[1] != "all":
            continue
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
    wanted = ("model", "method", "preset", "seed", "device", "precision", "templates", "aliases", "phrases")
    plain = {"target": record.label} | {name: asdict(record)[name] for name in wanted}
    return plain | {"class names": len(record.among)} | dict(_settings(record.settings, "setting "))


def differing(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What two mappings do not agree in, as text."""
    for name in dict.fromkeys((*first, *second)):
        one, other = ("" if name not in of else _text(of[name]) for of in (first, second))
        if one != other:
            yield name, one, other


def _settings(settings: Mapping[str, Any], beginning: str) -> Iterator[tuple[str, Any]]:
    """Every setting; one of a part under the part's name and its own."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{beginning}{name}.")
        else:
            yield f"{beginning}{name}", value


def _identity(used: DataUsed) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return used.sha256, used.manifest, tuple(sorted(used.where.items()))


def _renamed(found: Iterable[T], names: Mapping[str, str]) -> tuple[T, ...]:
    return tuple(replace(one, data=names.get(one.data, one.data)) for one in found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
