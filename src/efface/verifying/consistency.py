"""Whether the scores of a record agree with each other: what can be told without the model and the images."""

from collections.abc import Iterator

from efface.evaluation.base import Change, ClassScore, Score
from efface.functional.metrics import wilson_interval
from efface.report.record import Measurement, Record

ROUNDING = 1e-9
"""How far two ways to compute one number may differ."""
_MEANS = "mean_per_class_recall"


def inconsistencies(record: Record) -> Iterator[str]:
    """What cannot be, in words.

    A share must be a whole number out of ``n``, its interval the one that such a share has, a change the difference of
    the scores that it is the change of, and an accuracy that of its classes' images together.
    """
    for when, scores, of_classes in both_times(record):
        yield from (found for score in scores if score.metric != _MEANS for found in _share(score, when))
        yield from (found for score in of_classes for found in _share(score, when))
    yield from _changes(record)
    yield from _sums(record)


def _share(score: Score | ClassScore, when: str) -> Iterator[str]:
    where = f"{score_name(score)} {when}"
    right = round(score.value * score.n)
    if not 0 <= right <= score.n or abs(right - score.value * score.n) > ROUNDING * score.n:
        yield f"{where}: {score.value!r} is no share of {score.n}"
    elif not _near((score.low, score.high), wilson_interval(right, score.n)):
        yield f"{where}: {score.low!r} to {score.high!r} is not the interval of {right} out of {score.n}"


def _changes(record: Record) -> Iterator[str]:
    before = {(s.data, s.split, s.metric): s for s in record.scores.before}
    after = {(s.data, s.split, s.metric, s.towers): s for s in record.scores.after}
    for change in record.changes:
        old = before.get((change.data, change.split, change.metric))
        new = after.get((change.data, change.split, change.metric, change.towers))
        if old is None or new is None:
            yield f"{score_name(change)}: a change of a score that is not there"
        elif abs(new.value - old.value - change.value) > ROUNDING or not change.n == old.n == new.n:
            difference = new.value - old.value
            yield f"{score_name(change)}: the change is {change.value!r}, the scores differ by {difference!r}"
    missing = set(after) - {(c.data, c.split, c.metric, c.towers) for c in record.changes}
    yield from (f"{' '.join(key)}: there is no change for this score" for key in sorted(missing))


def _sums(record: Record) -> Iterator[str]:
    for when, scores, of_classes in both_times(record):
        for score in scores:
            if score.metric != "acc1" or score.towers != "both":
                continue
            of = [c for c in of_classes if c.data == score.data and score.split in (c.split, "all")]
            right, n = sum(c.value * c.n for c in of), sum(c.n for c in of)
            if n != score.n or abs(right - score.value * score.n) > ROUNDING * score.n:
                yield f"{score_name(score)} {when}: {score.value!r} of {score.n}, but its classes have {right:g} of {n}"


def both_times(record: Record | Measurement) -> Iterator[tuple[str, tuple[Score, ...], tuple[ClassScore, ...]]]:
    """The scores before, and those after, with those of the classes."""
    yield "before", record.scores.before, record.classes.before
    yield "after", record.scores.after, record.classes.after


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a - b) <= ROUNDING for a, b in zip(one, other, strict=True))


def score_name(score: Score | ClassScore | Change) -> str:
    """What tells a score from the others of the same time."""
    what = score.name if isinstance(score, ClassScore) else f"{score.split} {score.metric}"
    return f"{score.data} {what} {score.towers}"
