"""The scores of a run, measured a second time."""

from collections.abc import Iterator, Mapping, Sequence

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.evaluation.base import ClassScore, Score
from efface.measuring import Options, measure
from efface.report.record import Measurement, Record
from efface.report.rows import by_class
from efface.verifying.consistency import ROUNDING, both_times, score_name

TOLERANCE = 0.005
"""How far an accuracy may lie from the recorded one on another machine or with other versions; one image always may."""
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}
"""What a record calls the towers' precision, and what loading does."""
Scored = Mapping[str, Score | ClassScore]


def measure_again(
    record: Record, models: tuple[LoadedCLIP, LoadedCLIP | None], data: Sequence[EvalData], options: Options
) -> Measurement:
    """The same measurement as the record's, on the same data."""
    return measure(models, data, record.templates, record.target, options).measurement


def differences(record: Record, again: Measurement, tolerance: float = TOLERANCE) -> Iterator[str]:
    """The scores that came out otherwise, in words.

    Where versions and machine are those of the record, or the tolerance is 0, nothing may differ. Elsewhere kernels
    round otherwise, and an image whose two nearest classes are almost equally near may change sides: then a score may
    differ by ``tolerance``, or by one of the ``n`` that it was measured on, whichever is more.

    Args:
        record: what was measured.
        again: the second measurement.
        tolerance: a fraction.
    """
    is_same_place = dict(again.environment) == dict(record.environment)
    yield from _differing(_by_name(record), _by_name(again), 0.0 if is_same_place else tolerance)


def _differing(told: Scored, found: Scored, tolerance: float) -> Iterator[str]:
    for name, score in told.items():
        other = found.get(name)
        allowed = max(tolerance, 1 / score.n) if tolerance else 0.0
        if other is None:
            yield f"{name}: was not measured again"
        elif other.n != score.n or abs(other.value - score.value) > allowed + ROUNDING:
            yield f"{name}: {score.value!r} in the record, {other.value!r} now (n = {other.n})"
    yield from (f"{name}: is not in the record" for name in found if name not in told)


def _by_name(scored: Record | Measurement) -> Scored:
    """Every score by a name of its own."""
    found: dict[str, Score | ClassScore] = {}
    for when, scores, classes in both_times(scored):
        found |= {f"{score_name(score)} {when}": score for score in scores}
        for (*_, twin), score in by_class(classes).items():
            found[f"{score_name(score)} {f'({twin + 1}) ' if twin else ''}{when}"] = score
    return found
