"""Whether the scores of a record agree with each other: what can be told without the model and the images."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar, get_args

from efface.evaluation.base import Change, ClassScore, Metric, Score, Split, Towers
from efface.evaluation.collateral import ClassChange
from efface.evaluation.other_texts import TextChange, TextScore
from efface.functional.metrics import mean_interval, wilson_interval
from efface.report.record import Measurement, Record
from efface.report.rows import by_class

ROUNDING = 1e-9
"""How far two ways to compute one number may differ."""
MEAN_RECALL: Metric = "mean_per_class_recall"
K = TypeVar("K")
Scored = Score | ClassScore | TextScore | Change | ClassChange | TextChange


def inconsistencies(record: Record) -> Iterator[str]:
    """What cannot be, in words.

    A share must be a whole number out of ``n``, its interval the one that such a share has, a change the difference of
    the scores that it is the change of, and lie in its interval; accuracy, mean recall and ``n`` must be those of the
    classes together, and ``n`` by another text that of its class. No score may stand twice, or be missing on one side.
    """
    for when, scores, of_classes in both_times(record):
        yield from (f"{name} {when}: stands twice" for name in repeated(score_name(score) for score in scores))
        yield from (found for score in scores if score.metric != MEAN_RECALL for found in _share(score, when))
        yield from (found for score in of_classes for found in _share(score, when))
        for score in scores:
            of = [c for c in of_classes if c.data == score.data and score.split in (c.split, "all")]
            yield from _of_classes(score, of, when)
    yield from _changes(record)
    yield from _class_changes(record)
    yield from _other_texts(record)


def repeated(keys: Iterable[K]) -> list[K]:
    """What stands more than once, each once."""
    return [key for key, count in Counter(keys).items() if count > 1]


def whole_classes(of: Iterable[ClassScore]) -> list[tuple[int, int]]:
    """Of each class how many images were right, and how many there are, those to be forgotten and siblings as one."""
    counts: dict[tuple[str | int, ...], tuple[int, int]] = {}
    for i, score in enumerate(of):
        # Of others two classes may have one name.
        key = (score.data, score.name) if score.split in ("forget", "siblings") else (i,)
        right, n = counts.get(key, (0, 0))
        counts[key] = (right + right_ones(score), n + score.n)
    return list(counts.values())


def right_ones(score: ClassScore) -> int:
    """How many images of a class were right."""
    return round(score.value * score.n)


def _share(score: Score | ClassScore | TextScore, when: str) -> Iterator[str]:
    where = f"{score_name(score)} {when}"
    right = round(score.value * score.n)
    if not 0 <= right <= score.n or abs(right - score.value * score.n) > ROUNDING * score.n:
        yield f"{where}: {score.value!r} is no share of {score.n}"
    elif not _near((score.low, score.high), wilson_interval(right, score.n)):
        yield f"{where}: {score.low!r} to {score.high!r} is not the interval of {right} out of {score.n}"
    if isinstance(score, Score) and score.higher_is_better != (score.split != "forget"):
        yield f"{where}: higher_is_better is {score.higher_is_better}"


def _of_classes(score: Score, of: list[ClassScore], when: str) -> Iterator[str]:
    """What a score and those of its classes have against each other; with one tower of each, classes are not kept."""
    where = f"{score_name(score)} {when}"
    if score.metric.startswith("image_retrieval"):
        asked = sum(c.split != "forget" for c in of)
        if score.n != asked:
            yield f"{where}: {score.n} class texts, but {asked} classes can be asked for"
        return
    n, counts = sum(c.n for c in of), whole_classes(of)
    if n != score.n:
        yield f"{where}: {score.value!r} of {score.n}, but its classes have {n} images"
    elif score.towers == "both" and score.metric == "acc1":
        right = sum(of_class for of_class, _ in counts)
        if abs(right - score.value * score.n) > ROUNDING * score.n:
            yield f"{where}: {score.value!r} of {score.n}, but its classes have {right:g} of {n}"
    elif score.towers == "both" and score.metric == MEAN_RECALL:
        told = (score.value, score.low, score.high)
        mean = mean_interval([right for right, _ in counts], [images for _, images in counts])
        if not _near(told, mean):
            yield f"{where}: {told} is not {mean}, the mean of its classes and its interval"


def _changes(record: Record) -> Iterator[str]:
    before = {(s.data, s.split, s.metric): s for s in record.scores.before}
    after = {(s.data, s.split, s.metric, s.towers): s for s in record.scores.after}
    changes = [(c.data, c.split, c.metric, c.towers) for c in record.changes]
    for change in record.changes:
        old = before.get((change.data, change.split, change.metric))
        new = after.get((change.data, change.split, change.metric, change.towers))
        yield from _change(change, old, new)
    yield from (f"{' '.join(key)}: there is no change for this score" for key in sorted(set(after) - set(changes)))
    yield from (f"{' '.join(key)}: the change stands twice" for key in repeated(changes))
    if record.weights.result is not None:
        wanted = {(*key, towers) for key in before for towers in ("both", "image", "text")}
        yield from (f"{' '.join(key)} after: is missing" for key in sorted(wanted - set(after)))


def _class_changes(record: Record) -> Iterator[str]:
    old, new = by_class(record.classes.before), by_class(record.classes.after)
    changes = by_class(record.classes.changes)
    for key, change in changes.items():
        yield from _change(change, old.get(key), new.get(key))
    if record.weights.result is not None:
        for key in sorted((set(old) | set(new)) - set(changes)):
            yield f"{key[0]} {key[1]}: there is no change for this class"


def _other_texts(record: Record) -> Iterator[str]:
    """What speaks against the scores with another text in the place of a class's own."""
    found = record.other_texts
    classes = {(c.data, c.name): c.n for c in record.classes.before if c.split == "forget"}
    for when, scores in (("before", found.before), ("after", found.after)):
        yield from (f"{name} {when}: stands twice" for name in repeated(score_name(score) for score in scores))
        for score in scores:
            yield from _share(score, when)
            if score.n != classes.get((score.data, score.name)):
                yield f"{score_name(score)} {when}: {score.n} images are not those of {score.name}"
    old = {(s.data, s.name, s.text, s.kind): s for s in found.before}
    new = {score_name(s): s for s in found.after}
    for change in found.changes:
        before = old.get((change.data, change.name, change.text, change.kind))
        yield from _change(change, before, new.get(score_name(change)))
    if record.weights.result is not None:
        told = [score_name(change) for change in found.changes]
        yield from (f"{name}: the change stands twice" for name in repeated(told))
        wanted = {score_name(replace(s, towers=towers)) for s in found.before for towers in get_args(Towers)}
        for name in sorted({*wanted, *new} ^ {*told}):
            yield f"{name}: is missing after, or has no change"


def _change(
    change: Change | ClassChange | TextChange,
    old: Score | ClassScore | TextScore | None,
    new: Score | ClassScore | TextScore | None,
) -> Iterator[str]:
    if old is None or new is None:
        yield f"{score_name(change)}: a change of a score that is not there"
        return
    difference = new.value - old.value
    if abs(difference - change.value) > ROUNDING or not change.n == old.n == new.n or split_of(change) != split_of(old):
        yield f"{score_name(change)}: the change is {change.value!r}, the scores differ by {difference!r}"
    elif not change.low - ROUNDING <= change.value <= change.high + ROUNDING:
        yield f"{score_name(change)}: {change.value!r} lies outside of its interval"


def split_of(found: Scored) -> Split:
    """Of which images a figure is."""
    return "forget" if isinstance(found, TextScore | TextChange) else found.split


def both_times(record: Record | Measurement) -> Iterator[tuple[str, tuple[Score, ...], tuple[ClassScore, ...]]]:
    """The scores before, and those after, with those of the classes."""
    yield "before", record.scores.before, record.classes.before
    yield "after", record.scores.after, record.classes.after


def _near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= ROUNDING for a, b in zip(one, other, strict=True))


def score_name(score: Scored) -> str:
    """What tells a score from the others of the same time."""
    if isinstance(score, TextScore | TextChange):
        return f"{score.data} {score.name} by the {score.kind} {score.text!r} {score.towers}"
    if isinstance(score, Score | Change):
        return f"{score.data} {score.split} {score.metric} {score.towers}"
    name = f"{score.name} siblings" if score.split == "siblings" else score.name
    return f"{score.data} {name} {'both' if isinstance(score, ClassChange) else score.towers}"
