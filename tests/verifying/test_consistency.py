from dataclasses import replace
from pathlib import Path
from typing import Any

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
    assert ["but its classes have" in line for line in told] == [True, False]
    assert ["the change is" in line for line in told] == [False, True]


def test_a_change_cannot_stand_alone_and_a_score_needs_its_change(record: Sealed) -> None:
    assert "there is no change for this score" in next(inconsistencies(replace(record, changes=record.changes[1:])))
    told = list(inconsistencies(replace(record, scores=Scores(record.scores.before, record.scores.after[1:]))))
    assert "a change of a score that is not there" in told[0]


def test_classes_must_add_up(record: Sealed) -> None:
    classes = ClassScores(record.classes.before[1:], record.classes.after, record.classes.changes)
    assert any("but its classes have" in line for line in inconsistencies(replace(record, classes=classes)))


def first(found: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    return (replace(found[0], **changes), *found[1:])


def with_classes(record: Sealed, **changes: Any) -> Sealed:
    return replace(record, classes=replace(record.classes, **changes))


def test_a_class_change_must_be_that_of_its_scores_and_lie_in_its_interval(record: Sealed) -> None:
    changes = record.classes.changes
    told = inconsistencies(with_classes(record, changes=first(changes, value=changes[0].value + 0.25)))
    assert "cat both: the change is" in next(told)
    told = inconsistencies(with_classes(record, changes=first(changes, low=0.9, high=0.95)))
    assert "lies outside of its interval" in next(told)
    assert "no change for this class" in next(inconsistencies(with_classes(record, changes=changes[1:])))


def test_a_score_or_a_change_cannot_stand_twice(record: Sealed) -> None:
    scores = replace(record.scores, after=(*record.scores.after, record.scores.after[0]))
    assert "stands twice" in next(inconsistencies(replace(record, scores=scores)))
    changes = (*record.changes, record.changes[0])
    assert "the change stands twice" in next(inconsistencies(replace(record, changes=changes)))


def test_a_score_of_the_base_has_one_of_the_result_with_each_tower(record: Sealed) -> None:
    def kept(found: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(one for one in found if (one.split, one.towers) != ("forget", "text"))

    fewer = replace(
        record, scores=Scores(record.scores.before, kept(record.scores.after)), changes=kept(record.changes)
    )
    assert "forget acc1 text after: is missing" in next(inconsistencies(fewer))


def test_a_mean_recall_must_be_that_of_its_classes_and_so_its_interval(record: Sealed) -> None:
    at = next(i for i, s in enumerate(record.scores.after) if (s.split, s.metric) == ("all", "mean_per_class_recall"))
    score = record.scores.after[at]
    for edited in (replace(score, value=score.value + 1 / 12), replace(score, high=1.0)):
        after = (*record.scores.after[:at], edited, *record.scores.after[at + 1 :])
        told = list(inconsistencies(replace(record, scores=Scores(record.scores.before, after))))
        assert any("the mean of its classes and its interval" in line for line in told)


def test_a_score_says_which_way_is_better(record: Sealed) -> None:
    scores = Scores(record.scores.before, first(record.scores.after, higher_is_better=True))
    assert "higher_is_better is True" in next(inconsistencies(replace(record, scores=scores)))
