import dataclasses

import pytest

from efface.evaluation.base import Change, ClassScore, Score

SCORE = Score("d", "forget", "acc1", "both", 0.25, 4, 0.1, 0.5, False)


@pytest.mark.parametrize(
    "score", [SCORE, ClassScore("d", "c", "all", "both", 0.5, 2, 0.0, 1.0), Change(*dataclasses.astuple(SCORE)[:-1])]
)
def test_what_was_measured_cannot_be_changed(score: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.value = 1.0  # type: ignore[attr-defined]


def test_a_score_explains_itself_under_the_names_that_other_programs_rely_on() -> None:
    assert dataclasses.asdict(SCORE) == {
        "data": "d",
        "split": "forget",
        "metric": "acc1",
        "towers": "both",
        "value": 0.25,
        "n": 4,
        "low": 0.1,
        "high": 0.5,
        "higher_is_better": False,
    }
