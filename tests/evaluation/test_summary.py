import pytest

from efface.evaluation.base import Metric, Score, Split, Towers
from efface.evaluation.summary import Kept, summaries


def accuracy(data: str, split: Split, value: float, towers: Towers = "both", metric: Metric = "acc1") -> Score:
    return Score(data, split, metric, towers, value, 20, 0.0, 1.0, higher_is_better=split != "forget")


def test_of_two_sources_all_that_was_to_stay_counts_once() -> None:
    before = [accuracy("a", "forget", 0.8), accuracy("a", "siblings", 0.9), accuracy("a", "retain", 0.5)]
    before += [accuracy("a", "all", 0.7), accuracy("b", "all", 0.4)]
    after = [accuracy("a", "forget", 0.2), accuracy("a", "siblings", 0.6), accuracy("a", "retain", 0.6)]
    after += [accuracy("a", "all", 0.1), accuracy("b", "all", 0.3)]
    after += [accuracy("a", "forget", 0.9, "text"), accuracy("a", "forget", 0.9, metric="acc5")]
    (found,) = summaries(before, after)
    assert found.data == "a"
    assert found.kept == (Kept("a", "siblings"), Kept("a", "retain"), Kept("b", "all"))
    # Three quarters forgotten; two thirds, all and three quarters left.
    assert found.score == pytest.approx((0.75 + 2 / 3 + 1 + 0.75) / 4)
    assert found.untouched == 0.75
    assert found.h_mean == pytest.approx(2 * 0.8 * 0.6 / 1.4)
    assert found.sibling_drop == pytest.approx(0.3)


def test_each_source_with_such_images_has_its_own_and_counts_for_the_other() -> None:
    scores = [accuracy(data, split, 0.5) for data in ("a", "b") for split in ("forget", "retain")]
    one, other = summaries(scores, scores)
    assert (one.data, other.data) == ("a", "b")
    assert one.kept == (Kept("a", "retain"), Kept("b", "retain"))
    assert one.score == one.untouched == pytest.approx(2 / 3)
    assert one.sibling_drop is one.gold_distance is None


def test_what_the_base_answers_none_of_counts_for_nothing() -> None:
    before = [accuracy("a", "forget", 0.5), accuracy("a", "retain", 0.0), accuracy("b", "forget", 0.0)]
    (found,) = summaries(before, before)
    assert (found.data, found.kept, found.score, found.untouched) == ("a", (), 0.0, 0.0)
    assert summaries(before, []) == ()


def test_the_distance_to_gold_is_that_of_the_accuracies_in_the_mean() -> None:
    before = [accuracy("a", "forget", 0.9), accuracy("a", "retain", 0.8), accuracy("b", "all", 0.7)]
    after = [accuracy("a", "forget", 0.0), accuracy("a", "retain", 0.7), accuracy("b", "all", 0.7)]
    gold = [accuracy("a", "forget", 0.1), accuracy("a", "retain", 0.9), accuracy("b", "all", 0.7)]
    (found,) = summaries(before, after, gold)
    assert found.gold_distance == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    (same,) = summaries(before, after, after)
    assert same.gold_distance == 0
    assert found.score == same.score
