"""The measurement of a run, made a second time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.evaluation.base import Change, ClassScore, Score, Split
from efface.evaluation.collateral import ClassChange, Confusion
from efface.evaluation.other_texts import TextChange, TextScore
from efface.evaluation.retrieval import Retrieved
from efface.measuring import Measured, Options, measure
from efface.report.record import DataUsed, Measurement, Record, TensorDigest, Weights
from efface.report.rows import by_class
from efface.verifying.consistency import (
    MEAN_RECALL,
    ROUNDING,
    Scored,
    both_times,
    score_name,
    split_of,
    whole_classes,
)

C = TypeVar("C", ClassScore, ClassChange)
ENDS = 8
"""How many times as far as an accuracy the end of a paired interval may lie: one image of a few dozen moves it that far
where it is the first that tells before from after."""
TOLERANCE = 0.005
"""How far an accuracy may lie from the recorded one on another machine or with other versions; one image always may."""
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}
"""What a record calls the towers' precision, and what loading does."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured under one name.

    Attributes:
        n: of how many.
        split: of which images.
        numbers: by what they are, each with how far it may lie from another measurement's.
    """

    n: int
    split: str
    numbers: Mapping[str, tuple[float, float]]


def measure_again(
    record: Record, models: tuple[LoadedCLIP, LoadedCLIP | None], data: Sequence[EvalData], options: Options
) -> Measured:
    """The same measurement as the record's, on the same data."""
    return measure(models, data, record.templates, record.forgotten, options)


def differences(record: Record, again: Measured, *, device: str, tolerance: float = TOLERANCE) -> Iterator[str]:
    """What came out otherwise, in words.

    Digests of weights must be the same anywhere. Where versions, machine and device are those of the record, or the
    tolerance is 0, nothing else may differ either. Elsewhere kernels round otherwise, and an image whose two nearest
    classes are almost equally near may change sides: ``tolerance`` of the ``n`` images may, or one, whichever is more.
    An accuracy may differ by so many over ``n``, a mean recall by so many over its classes times the images of the
    smallest, both ends of their intervals by twice as much; a change by twice as much, the ends of its interval by
    :data:`ENDS` times; a cosine by ``tolerance``.

    Args:
        record: what was measured.
        again: the second measurement.
        device: where that was made.
        tolerance: a fraction.
    """
    found = again.measurement
    is_same_place = dict(found.environment) == dict(record.environment) and device == record.device
    allowed = 0.0 if is_same_place else tolerance
    yield from _of_weights(record.weights, found.weights)
    yield from _of_data(record.data, found.data)
    yield from _of_figures(_figures(record, allowed), _figures(found, allowed))
    yield from _of_confusion(record.confusion, found.confusion, allowed)
    yield from _of_finds(record.retrieved, again.retrieved, allowed)


def _of_weights(told: Weights, found: Weights) -> Iterator[str]:
    if (told.base, told.result, set(told.changed)) != (found.base, found.result, set(found.changed)):
        yield "the digests of the weights, or the tensors that changed, are others now"
    of = {tensor.name: tensor for tensor in found.tensors}
    if [tensor.name for tensor in told.tensors] != [*of]:
        yield "the tensors are others now"
        return
    for tensor in told.tensors:
        if not _is_tensor(tensor, of[tensor.name]):
            yield f"the tensor {tensor.name}: {tensor} in the record, {of[tensor.name]} now"


def _is_tensor(told: TensorDigest, found: TensorDigest) -> bool:
    """Whether two are the same; norms may have been added up in another order."""
    same = replace(found, relative_change=told.relative_change, largest_change=told.largest_change) == told
    return (
        same
        and _is_norm(told.relative_change, found.relative_change)
        and _is_norm(told.largest_change, found.largest_change)
    )


def _is_norm(told: float | None, found: float | None) -> bool:
    return told is found if told is None or found is None else math.isclose(told, found, rel_tol=ROUNDING)


def _of_data(told: Sequence[DataUsed], found: Sequence[DataUsed]) -> Iterator[str]:
    now = {used.source: used for used in found}
    for used in told:
        other = now.get(used.source)
        if other is not None and (other.n, other.lost) != (used.n, used.lost):
            what = [f"{one.n} images, lost: {', '.join(one.lost) or 'no split'}" for one in (used, other)]
            yield f"{used.source}: {what[0]} in the record, {what[1]} now"


def _of_figures(told: Mapping[str, Figure], found: Mapping[str, Figure]) -> Iterator[str]:
    for name, figure in told.items():
        other = found.get(name)
        if other is None:
            yield f"{name}: was not measured again"
        elif (other.n, other.split, set(other.numbers)) != (figure.n, figure.split, set(figure.numbers)):
            yield f"{name}: of {figure.n} ({figure.split}) in the record, now (n = {other.n}, {other.split})"
        else:
            for what, (value, allowed) in figure.numbers.items():
                now = other.numbers[what][0]
                if abs(now - value) > allowed + ROUNDING:
                    yield f"{name}: {what} {value!r} in the record, {now!r} now (n = {other.n})"
    yield from (f"{name}: is not in the record" for name in found if name not in told)


def _figures(scored: Record | Measurement, tolerance: float) -> dict[str, Figure]:
    """Every figure by a name of its own."""
    images = _images(scored)

    def allowed(score: Scored) -> float:
        """How far an accuracy may differ, of as many images."""
        is_mean = isinstance(score, Score | Change) and score.metric == MEAN_RECALL
        return _sides(score.n, tolerance) / (images.get((score.data, split_of(score)), score.n) if is_mean else score.n)

    found: dict[str, Figure] = {}
    for when, scores, classes in both_times(scored):
        for score in scores:
            found[f"{score_name(score)} {when}"] = _figure(score, allowed(score), 2 * allowed(score))
        for name, of_class in _numbered(by_class(classes)):
            found[f"{name} {when}"] = _figure(of_class, allowed(of_class), 2 * allowed(of_class))
    for change in scored.changes:
        found[f"{score_name(change)} change"] = _figure(change, 2 * allowed(change), ENDS * allowed(change))
    for name, moved in _numbered(by_class(scored.classes.changes)):
        figure = _figure(moved, 2 * allowed(moved), ENDS * allowed(moved))
        distance = {} if moved.text_distance is None else {"text_distance": (moved.text_distance, tolerance)}
        found[f"{name} change"] = replace(figure, numbers={**figure.numbers, **distance})
    for of_text, when, of_value, of_ends in _by_other_texts(scored):
        size = allowed(of_text)
        found[f"{score_name(of_text)} {when}"] = _figure(of_text, of_value * size, of_ends * size)
    return found


def _by_other_texts(scored: Record | Measurement) -> Iterator[tuple[TextScore | TextChange, str, int, int]]:
    """The scores by other texts, when, and how many times as far as an image goes value and interval may differ."""
    texts = scored.other_texts
    yield from ((score, "before", 1, 2) for score in texts.before)
    yield from ((score, "after", 1, 2) for score in texts.after)
    yield from ((change, "change", 2, ENDS) for change in texts.changes)


def _figure(score: Scored, of_value: float, of_ends: float) -> Figure:
    numbers = {"value": (score.value, of_value), "low": (score.low, of_ends), "high": (score.high, of_ends)}
    return Figure(score.n, split_of(score), numbers)


def _sides(n: int, tolerance: float) -> float:
    """How many of so many images may change sides."""
    return max(tolerance * n, 1.0) if tolerance else 0.0


def _images(scored: Record | Measurement) -> dict[tuple[str, Split], int]:
    """Of each source and split, the number of classes times the images of the smallest."""
    of: dict[tuple[str, Split], list[ClassScore]] = {}
    for score in scored.classes.before:
        for split in dict.fromkeys((score.split, "all")):
            of.setdefault((score.data, split), []).append(score)
    classes = {key: [n for _, n in whole_classes(scores)] for key, scores in of.items()}
    return {key: len(ns) * min(ns) for key, ns in classes.items()}


def _numbered(classes: Mapping[tuple[str, str, int], C]) -> Iterator[tuple[str, C]]:
    """Each class by a name of its own, where two classes have one name too."""
    for (*_, twin), score in classes.items():
        yield f"{score_name(score)}{f' ({twin + 1})' if twin else ''}", score


def _of_confusion(told: Sequence[Confusion], found: Sequence[Confusion], tolerance: float) -> Iterator[str]:
    """Two classes of one name are counted together; what never occurred has no line."""
    before, now = _counts(told), _counts(found)
    for key in dict.fromkeys((*before, *now)):
        n, *counts = before.get(key, (0, 0, 0))
        now_n, *now_counts = now.get(key, (0, 0, 0))
        most = _sides(max(n, now_n), tolerance)
        if (n and now_n and n != now_n) or any(abs(a - b) > most for a, b in zip(counts, now_counts, strict=True)):
            data, name, called = key
            yield (
                f"{data}: {name} taken for {called} {counts[0]} times before and {counts[1]} after in the record, "
                f"{now_counts[0]} and {now_counts[1]} now (n = {now_n or n})"
            )


def _counts(confusion: Sequence[Confusion]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """By source, class and what it was taken for: images, and how many of them before and after."""
    found: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for one in confusion:
        key = (one.data, one.name, one.called)
        n, before, after = found.get(key, (0, 0, 0))
        found[key] = (n + one.n, before + one.before, after + one.after)
    return found


def _of_finds(told: Sequence[Retrieved], found: Sequence[Retrieved], tolerance: float) -> Iterator[str]:
    """Of images that are almost equally near, another may come first, or be the last that is found."""
    for key in dict.fromkeys((one.data, one.when, one.asked) for one in (*told, *found)):
        then, now = ([one for one in finds if (one.data, one.when, one.asked) == key] for finds in (told, found))
        if [one.rank for one in then] != [one.rank for one in now]:
            yield f"{key[0]}: the text of {key[2]} finds {len(then)} images {key[1]} in the record, {len(now)} now"
            continue
        for old, new in zip(then, now, strict=True):
            if not _is_find(old, new, now, tolerance):
                yield (
                    f"{old.data}: the text of {old.asked} finds image {old.row} ({old.name}, {old.cosine!r}) as number "
                    f"{old.rank} {old.when} in the record, image {new.row} ({new.name}, {new.cosine!r}) now"
                )


def _is_find(old: Retrieved, new: Retrieved, now: Sequence[Retrieved], tolerance: float) -> bool:
    if abs(old.cosine - new.cosine) > tolerance + ROUNDING:
        return False
    if not tolerance:
        return (old.row, old.name, old.picture) == (new.row, new.name, new.picture)
    same = next((one for one in now if one.row == old.row), None)
    if same is None:
        return abs(old.cosine - now[-1].cosine) <= 2 * tolerance
    return same.name == old.name and abs(same.cosine - old.cosine) <= tolerance
