"""The numbers of a record side by side, and how they are put into words."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from efface.evaluation.base import Change, ClassScore, Metric, Score, Split, Towers
from efface.evaluation.collateral import ClassChange
from efface.evaluation.other_texts import TextChange, TextScore
from efface.evaluation.summary import Summary
from efface.report.record import DataUsed, Measurement, Record

C = TypeVar("C", ClassScore, ClassChange)
T = TypeVar("T", TextScore, TextChange)

METRICS: Mapping[Metric, str] = {
    "acc1": "top-1 accuracy",
    "acc5": "top-5 accuracy",
    "mean_per_class_recall": "mean per-class recall",
    "image_retrieval_recall@1": "class texts that find an image of their class first",
    "image_retrieval_recall@5": "class texts that find one among the first 5 images",
    "image_retrieval_recall@10": "class texts that find one among the first 10 images",
}
TOWERS: Mapping[Towers, str] = {
    "both": "both towers edited",
    "image": "edited image tower, original text tower",
    "text": "original image tower, edited text tower",
}

PURPOSES: Mapping[str, str] = {
    "retain": "to stay",
    "calibration": "to stay, to choose by",
    "calibration_forget": "to forget, to choose by",
    "pool": "for statistics",
}
"""What images were handed over for, in words."""

# A folder of this machine, after a scheme or without one.
_LOCAL = re.compile(r"(?:local-dir:|file:|(?:[\w+-]+:)?(?=[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]))(?P<path>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement before and after; None for what was not measured."""

    data: str
    split: Split
    metric: Metric
    towers: Towers
    before: Score | None
    after: Score | None
    change: Change | None

    @property
    def n(self) -> int:
        """Images that it was measured on."""
        return next((score.n for score in (self.after, self.before) if score is not None), 0)


@dataclass(frozen=True, slots=True)
class TextRow:
    """One measurement with another text in the place of its class's; None for what was not measured."""

    before: TextScore
    after: TextScore | None
    change: TextChange | None

    @property
    def words(self) -> str:
        """Which images were asked for by what: ``images of cat by the alias tabby``."""
        return f"images of {self.before.name} by the {self.before.kind} {self.before.text}"


def percent(fraction: float) -> str:
    """A fraction in percent, with one decimal and without the sign: ``0.123`` is ``12.3``."""
    return f"{round(100 * fraction, 1) + 0.0:.1f}"


def points(change: float) -> str:
    """A change of a fraction in percentage points, always with its sign: ``-0.54`` is ``-54.0``."""
    return f"{round(100 * change, 1) + 0.0:+.1f}"


def interval(low: float, high: float) -> str:
    """An interval of fractions in percent: ``12.0 to 34.5``."""
    return f"{percent(low)} to {percent(high)}"


def split_words(split: Split, target: str) -> str:
    """Which images a split holds: ``images of gorilla``."""
    words = {"siblings": "other images of the class", "retain": "images of other classes", "all": "all images"}
    return words.get(split, f"images of {target}")


def chosen_words(used: DataUsed, target: str) -> str:
    """Which images of a source count, where not all do: ``only images with domain sketch``."""
    parts = []
    if used.where:
        parts.append(f"only images with {_columns(used)}")
    if used.skipped:
        one = len(used.skipped) == 1
        count = "1 image" if one else f"{len(used.skipped)} images"
        parts.append(f"{count} could not be decoded, and no figure counts {'it' if one else 'them'}")
    for split in used.lost:
        parts.append(f"all {split_words(split, target)} are among these: nothing is measured on them")
    return "; ".join(parts)


def summary_words(found: Summary) -> str:
    """What scores come to, beside what that is worth: ``score 96.4, of an untouched model 85.7``."""
    parts = [f"score {percent(found.score)}, of an untouched model {percent(found.untouched)}"]
    if found.h_mean is not None:
        parts.append(f"H-mean {percent(found.h_mean)}")
    if found.sibling_drop is not None:
        parts.append(f"siblings {points(-found.sibling_drop)} points")
    if found.gold_distance is not None:
        parts.append(f"{percent(found.gold_distance)} points from gold in the mean")
    return "; ".join(parts)


FILTERS: Mapping[str, Callable[..., str]] = {
    "percent": percent,
    "points": points,
    "interval": lambda score: interval(score.low, score.high),
    "images": split_words,
    "chosen": chosen_words,
    "summary": summary_words,
    "purpose": PURPOSES.__getitem__,
}
"""How the templates of page and card put numbers into words."""


def headline(record: Record) -> str:
    """What a title may say of the result; suppression only where the accuracy on the class fell beyond its interval."""
    if record.weights.result is None:
        return "no changed model of"
    return "measured suppression in" if _fallen(record) else "edited copy of"


def statement(record: Record) -> str:
    """What was measured, on what, and for which weights, in one sentence without a full stop.

    It speaks of suppression only on sources where the accuracy on the class fell beyond its interval, names no source
    that has no figure for the class, and names the attacks that were tried, which is none.
    """
    if record.weights.result is None:
        return f"no model was made that suppresses {record.label}"
    weights = f"for weights sha256 {record.weights.result}"
    measured = [s.data for s in record.scores.after if (s.split, s.metric, s.towers) == ("forget", "acc1", "both")]
    if not measured:
        return f"nothing was measured on images of {record.label}, {weights}"
    fallen = _fallen(record)
    if not fallen:
        return f"measured accuracy on {record.label} on {_sources(record, measured)} under no attack, {weights}"
    said = f"measured suppression of {record.label} on {_sources(record, fallen)} under no attack, {weights}"
    rest = [data for data in measured if data not in fallen]
    return f"{said}; no fall beyond its 95 % interval on {_sources(record, rest)}" if rest else said


def is_local(name: str) -> bool:
    """Whether a model or a source is a folder or a file of this machine, named from its root or with ``local-dir:``."""
    return _LOCAL.fullmatch(name) is not None


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names without the folders above them: ``local-dir:/home/me/clip`` is ``clip``.

    Where two would be the same, each keeps as many of its folders as it takes to tell them apart.
    """
    paths = {name: _parts(name) for name in names}
    depth = {name: 1 for name in paths}
    short = {name: "/".join(path[-1:]) for name, path in paths.items()}
    while alike := [
        name for name in paths if list(short.values()).count(short[name]) > 1 and depth[name] < len(paths[name])
    ]:
        for name in alike:
            depth[name] += 1
            short[name] = "/".join(paths[name][-depth[name] :])
    return short


def score_rows(record: Record | Measurement, towers: Iterable[Towers]) -> tuple[Row, ...]:
    """The scores with these towers, before and after side by side, in the order of the record.

    The base with one of its own towers swapped for the original is the base itself, so where it was not measured with
    mixed towers its score with both stands in. Mean recall over one class is its accuracy, and is left out.
    """
    before, after = ({_key(s): s for s in scores} for scores in (record.scores.before, record.scores.after))
    changes = {_key(change): change for change in record.changes}
    wanted = tuple(towers)
    known = (key for key in dict.fromkeys((*before, *after)) if key[1:3] != ("forget", "mean_per_class_recall"))
    keys = [key for key in known if key[3] in wanted]
    return tuple(
        Row(*key, before.get(key, before.get((*key[:3], "both"))), after.get(key), changes.get(key)) for key in keys
    )


def text_rows(record: Record | Measurement) -> tuple[TextRow, ...]:
    """The scores by aliases and phrases with both towers edited, before and after side by side."""

    def keyed(found: Iterable[T]) -> dict[tuple[str, str, str, str], T]:
        return {(one.data, one.name, one.kind, one.text): one for one in found if one.towers == "both"}

    texts = record.other_texts
    after, changes = keyed(texts.after), keyed(texts.changes)
    return tuple(TextRow(score, after.get(key), changes.get(key)) for key, score in keyed(texts.before).items())


def by_class(found: Iterable[C]) -> dict[tuple[str, str, int], C]:
    """What was measured of each class, by its source, its name, and how many of that source and name came before.

    Published class names of ImageNet give two classes one name.
    """
    seen: Counter[tuple[str, str]] = Counter()
    numbered = {}
    for one in found:
        numbered[one.data, one.name, seen[one.data, one.name]] = one
        seen[one.data, one.name] += 1
    return numbered


def _fallen(record: Record) -> list[str]:
    """The sources on which the accuracy on the class has an interval of its change wholly below 0."""
    return [
        c.data for c in record.changes if (c.split, c.metric, c.towers) == ("forget", "acc1", "both") and c.high < 0
    ]


def _sources(record: Record, chosen: Sequence[str]) -> str:
    """Some sources by their short names, with what was chosen of each."""
    used = {one.source: one for one in record.data}
    names = short_names([*used, *(row.data for row in record.scores.after), *chosen])
    where = {data: f" ({_columns(one)})" for data, one in used.items() if one.where}
    return ", ".join(f"{names[data]}{where.get(data, '')}" for data in chosen)


def _columns(used: DataUsed) -> str:
    return ", ".join(f"{column} {value}" for column, value in used.where.items())


def _parts(name: str) -> list[str]:
    local = _LOCAL.fullmatch(name)
    if local is None:
        return [name]
    return [part for part in re.split(r"[/\\]", local["path"]) if part not in ("", ".", "..", "~")] or ["local"]


def _key(score: Score | Change) -> tuple[str, Split, Metric, Towers]:
    return score.data, score.split, score.metric, score.towers
