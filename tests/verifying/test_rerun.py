from dataclasses import replace
from pathlib import Path

import pytest

from efface.export.folder import read_run
from efface.report.document import Sealed
from efface.report.record import Measurement, Scores
from efface.verifying.rerun import TOLERANCE, differences


@pytest.fixture
def record(whole: Path) -> Sealed:
    return read_run(whole)


def again(record: Sealed, by: float = 0.0, **environment: str) -> Measurement:
    """The same measurement, with the first score moved and in other surroundings."""
    first, *rest = record.scores.after
    return Measurement(
        model="", against="", name=record.target, templates=record.templates, weights=record.weights, data=record.data,
        scores=Scores(record.scores.before, (replace(first, value=first.value + by), *rest)),
        classes=record.classes, changes=record.changes, confusion=record.confusion,
        environment=dict(record.environment) | environment, precision=record.precision,
    )  # fmt: skip


def test_the_same_figures_do_not_differ(record: Sealed) -> None:
    assert list(differences(record, again(record))) == []


def test_in_the_same_place_nothing_may_differ(record: Sealed) -> None:
    (told,) = differences(record, again(record, by=1e-6))
    assert "in the record" in told


def test_elsewhere_one_image_may_change_sides_and_two_may_not(record: Sealed) -> None:
    n = record.scores.after[0].n
    assert n == 4
    assert 1 / n > TOLERANCE
    assert list(differences(record, again(record, by=1 / n, torch="other"))) == []
    assert len(list(differences(record, again(record, by=2 / n, torch="other")))) == 1
    assert len(list(differences(record, again(record, by=1 / n, torch="other"), tolerance=0.0))) == 1


def test_a_score_that_is_only_on_one_side_differs(record: Sealed) -> None:
    found = again(record)
    fewer = replace(found, scores=Scores(found.scores.before, found.scores.after[1:]))
    assert ["was not measured again" in told for told in differences(record, fewer)] == [True]
    assert ["is not in the record" in told for told in differences(replace(record, scores=fewer.scores), found)] == [
        True
    ]
