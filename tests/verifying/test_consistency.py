from dataclasses import replace
from pathlib import Path

import pytest

from efface.export.folder import read_run
from efface.functional.metrics import wilson_interval
from efface.report.document import Sealed
from efface.report.record import ClassScores, Scores
from efface.verifying.consistency import inconsistencies


@pytest.fixture
def record(whole: Path) -> Sealed:
    return read_run(whole)


def with_after(record: Sealed, value: float, low: float, high: float) -> Sealed:
    first, *rest = record.scores.after
    edited = replace(first, value=value, low=low, high=high)
    return replace(record, scores=Scores(record.scores.before, (edited, *rest)))


def test_a_measured_record_agrees_with_itself(record: Sealed) -> None:
    assert list(inconsistencies(record)) == []


def test_a_value_must_be_a_share_of_its_images(record: Sealed) -> None:
    (first, *_) = inconsistencies(with_after(record, 0.3, 0.0, 1.0))
    assert "0.3 is no share of 4" in first


def test_an_interval_must_be_that_of_its_share(record: Sealed) -> None:
    score = record.scores.after[0]
    (only,) = inconsistencies(with_after(record, score.value, score.low, 0.99))
    assert "is not the interval of" in only


def test_a_share_with_its_interval_must_still_fit_its_change_and_its_classes(record: Sealed) -> None:
    another = (round(4 * record.scores.after[0].value) + 1) % 5
    told = list(inconsistencies(with_after(record, another / 4, *wilson_interval(another, 4))))
    assert ["the change is" in line for line in told] == [True, False]
    assert ["but its classes have" in line for line in told] == [False, True]


def test_a_change_cannot_stand_alone_and_a_score_needs_its_change(record: Sealed) -> None:
    assert "there is no change for this score" in next(inconsistencies(replace(record, changes=record.changes[1:])))
    told = list(inconsistencies(replace(record, scores=Scores(record.scores.before, record.scores.after[1:]))))
    assert "a change of a score that is not there" in told[0]


def test_classes_must_add_up(record: Sealed) -> None:
    classes = ClassScores(record.classes.before[1:], record.classes.after, record.classes.changes)
    assert any("but its classes have" in line for line in inconsistencies(replace(record, classes=classes)))
