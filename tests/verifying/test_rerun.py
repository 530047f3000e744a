from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.evaluation.zero_shot import Answers, class_scores, scores
from efface.export.folder import read_run
from efface.measuring import Measured
from efface.report.document import Sealed
from efface.report.record import ClassScores, Measurement, Scores, Weights
from efface.verifying.rerun import TOLERANCE, differences
from tests.report.sample_record import sample


@pytest.fixture
def record(whole: Path) -> Sealed:
    return read_run(whole)


def again(record: Sealed, by: float = 0.0, **environment: str) -> Measured:
    """The same measurement, with the first score moved and in other surroundings."""
    first, *rest = record.scores.after
    measurement = Measurement(
        model="", against="", name=record.target, templates=record.templates, weights=record.weights, data=record.data,
        scores=Scores(record.scores.before, (replace(first, value=first.value + by), *rest)),
        classes=record.classes, changes=record.changes, confusion=record.confusion,
        environment=dict(record.environment) | environment, precision=record.precision,
    )  # fmt: skip
    return Measured(measurement, record.retrieved)


def differing(record: Sealed, found: Measured, tolerance: float = TOLERANCE, device: str = "cpu") -> list[str]:
    return list(differences(record, found, device=device, tolerance=tolerance))


def measured(found: Measured, **changes: Any) -> Measured:
    return replace(found, measurement=replace(found.measurement, **changes))


def moved(found: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    """The first one with other values."""
    return (replace(found[0], **changes), *found[1:])


def test_the_same_figures_do_not_differ(record: Sealed) -> None:
    assert differing(record, again(record)) == []
    assert differing(record, again(record, torch="other")) == []


def test_in_the_same_place_nothing_may_differ(record: Sealed) -> None:
    (told,) = differing(record, again(record, by=1e-6))
    assert "in the record" in told


def test_another_device_is_another_place(record: Sealed) -> None:
    assert record.device == "cpu"
    one_image = 1 / record.scores.after[0].n
    assert len(differing(record, again(record, by=one_image))) == 1
    assert differing(record, again(record, by=one_image), device="cuda:0") == []


def test_elsewhere_one_image_may_change_sides_and_two_may_not(record: Sealed) -> None:
    n = record.scores.after[0].n
    assert n == 4
    assert 1 / n > TOLERANCE
    assert differing(record, again(record, by=1 / n, torch="other")) == []
    assert len(differing(record, again(record, by=2 / n, torch="other"))) == 1
    assert len(differing(record, again(record, by=1 / n, torch="other"), tolerance=0.0)) == 1


def test_an_image_of_a_small_class_moves_the_mean_recall_by_more_than_one_of_all() -> None:
    labels = torch.tensor([0] + [1] * 99)

    def asked(rank: int) -> Measured:
        answers = Answers("d", ("a", "b"), (), labels, {"before": torch.where(labels == 0, rank, 0)})
        found, classes = Scores(scores(answers, "before")), ClassScores(class_scores(answers, "before"))
        weights = Weights("00", None, ())
        return Measured(Measurement("m", None, None, ("{}",), weights, (), found, classes, (), (), {}, "float32"))

    one = asked(0).measurement
    record = replace(sample(), scores=one.scores, classes=one.classes, weights=one.weights, data=(), changes=())
    record = replace(record, confusion=(), retrieved=(), environment={"torch": "other"})
    by_mean = [s.value for s in asked(5).measurement.scores.before if s.metric == "mean_per_class_recall"]
    assert by_mean == [0.5]
    assert list(differences(record, asked(5), device="cpu")) == []
    other = sample(environment={"torch": "other"}, confusion=(), retrieved=(), weights=one.weights, data=(), changes=())
    larger = replace(other, scores=one.scores, classes=ClassScores(tuple(replace(c, n=50) for c in one.classes.before)))
    assert any("mean_per_class_recall" in told for told in differences(larger, asked(5), device="cpu"))


def test_a_score_that_is_only_on_one_side_differs(record: Sealed) -> None:
    found = again(record)
    fewer = Scores(record.scores.before, record.scores.after[1:])
    assert ["was not measured again" in told for told in differing(record, measured(found, scores=fewer))] == [True]
    assert ["is not in the record" in told for told in differing(replace(record, scores=fewer), found)] == [True]


def forgeries(record: Sealed) -> dict[str, dict[str, Any]]:
    """Fields of a record that no two measurements agree on."""
    classes, weights = record.classes, record.weights
    return {
        "an interval of a change": {"changes": moved(record.changes, low=-0.99)},
        "a change": {"changes": moved(record.changes, value=record.changes[0].value + 0.01)},
        "no change": {"changes": record.changes[1:]},
        "an interval of a class": {"classes": replace(classes, changes=moved(classes.changes, high=0.999))},
        "a distance": {"classes": replace(classes, changes=moved(classes.changes, text_distance=1.5))},
        "no confusion": {"confusion": ()},
        "confusion": {"confusion": moved(record.confusion, after=record.confusion[0].after + 1)},
        "no finds": {"retrieved": ()},
        "a find": {"retrieved": moved(record.retrieved, row=record.retrieved[0].row + 1)},
        "how near a find is": {"retrieved": moved(record.retrieved, cosine=record.retrieved[0].cosine + 0.01)},
        "no tensor changed": {"weights": replace(weights, changed=())},
        "how far a tensor moved": {"weights": replace(weights, tensors=moved(weights.tensors, relative_change=0.5))},
        "another base": {"weights": replace(weights, base="00" * 32)},
        "a tensor less": {"weights": replace(weights, tensors=weights.tensors[1:])},
        "a lost split": {"data": moved(record.data, lost=("retain",))},
    }


def test_all_of_a_measurement_is_compared(record: Sealed) -> None:
    far, found = forgeries(record), again(record)
    assert [what for what in far if not differing(replace(record, **far[what]), found)] == []


def test_elsewhere_figures_may_lie_as_far_as_is_stated_and_digests_may_not(record: Sealed) -> None:
    found = again(record, torch="other")
    nearly = replace(
        record,
        changes=moved(record.changes, value=record.changes[0].value + 0.01, low=record.changes[0].low + 0.01),
        confusion=moved(record.confusion, after=record.confusion[0].after + 1),
        retrieved=moved(record.retrieved, cosine=record.retrieved[0].cosine + 0.001),
    )
    assert differing(nearly, found) == []
    assert differing(nearly, again(record)) != []
    far = forgeries(record)
    always = [what for what in far if differing(replace(record, **far[what]), found)]
    assert {"no change", "a distance", "no confusion", "no finds", "another base", "a tensor less"} <= set(always)
    assert {"no tensor changed", "how far a tensor moved", "a lost split"} <= set(always)
