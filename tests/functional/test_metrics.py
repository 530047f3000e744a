import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.metrics import (
    difference_interval,
    drawn_interval,
    h_mean,
    lip_score,
    mean_interval,
    mean_paired_change,
    paired_change,
    subgroup_score,
    untouched_score,
    wilson_interval,
)

fractions = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_the_wilson_interval_of_one_in_ten() -> None:
    # By hand, z = 1.96: centre (0.1 + 3.8416/20) / (1 + 3.8416/10) = 0.29208 / 1.38416 = 0.21102;
    # half width 1.96 * sqrt(0.1 * 0.9 / 10 + 3.8416/400) / 1.38416 = 1.96 * 0.136396 / 1.38416 = 0.19314.
    assert wilson_interval(1, 10) == pytest.approx((0.01788, 0.40416), abs=1e-4)


def test_the_interval_over_draws_holds_what_the_draw_adds() -> None:
    low, high = wilson_interval(50, 100)
    assert drawn_interval([0.5], 100) == drawn_interval([0.5, 0.5, 0.5], 100) == (0.5, low, high)
    # The shares 0.3 and 0.7 have a standard deviation of 0.2 * sqrt(2), so the mean has a standard error of 0.2.
    half = ((high - 0.5) ** 2 + (1.96 * 0.2) ** 2) ** 0.5
    assert drawn_interval([0.3, 0.7], 100) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-4)
    # It does not leave [0, 1]: here the standard error is a third.
    assert drawn_interval([0.0, 1.0, 1.0], 100)[2] == 1
    assert drawn_interval([1.0, 0.0, 0.0], 100)[1] == 0


def test_none_of_fifty_still_has_a_width() -> None:
    # At 0 the interval is [0, z^2 / (n + z^2)] = [0, 3.8415 / 53.8415].
    assert wilson_interval(0, 50) == pytest.approx((0.0, 3.841459 / 53.841459), abs=1e-6)


@given(fractions)
def test_the_wilson_interval_holds_the_fraction_and_stays_in_the_unit_interval(fraction: tuple[int, int]) -> None:
    right, n = fraction
    low, high = wilson_interval(right, n)
    assert 0 <= low <= right / n <= high <= 1


@given(fractions)
def test_the_wilson_interval_of_failures_mirrors_that_of_successes(fraction: tuple[int, int]) -> None:
    right, n = fraction
    low, high = wilson_interval(right, n)
    assert wilson_interval(n - right, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {right} of {n}"):
        wilson_interval(right, n)


def test_the_mean_of_one_fraction_has_its_wilson_interval() -> None:
    assert mean_interval([3], [10]) == pytest.approx((0.3, *wilson_interval(3, 10)))


def test_the_mean_of_k_equal_fractions_has_an_interval_narrower_by_the_root_of_k() -> None:
    mean, low, high = mean_interval([3] * 4, [10] * 4)
    one_low, one_high = wilson_interval(3, 10)
    assert (mean, mean - low, high - mean) == pytest.approx((0.3, (0.3 - one_low) / 2, (one_high - 0.3) / 2))


@given(st.lists(fractions, min_size=1, max_size=8))
def test_the_mean_lies_in_its_interval_for_any_classes(found: list[tuple[int, int]]) -> None:
    mean, low, high = mean_interval([right for right, _ in found], [n for _, n in found])
    assert mean == pytest.approx(sum(right / n for right, n in found) / len(found))
    assert -1e-12 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1 + 1e-12


def bools(*counts: tuple[bool, bool, int]) -> tuple[Tensor, Tensor]:
    """Before and after, from how many images were right before, after."""
    pairs = [(before, after) for before, after, n in counts for _ in range(n)]
    return torch.tensor([b for b, _ in pairs]), torch.tensor([a for _, a in pairs])


def test_the_paired_interval_of_newcombes_own_example() -> None:
    # Newcombe 1998, table III, method 10: 36 both, 12 and 2 discordant, none neither, n = 50:
    # difference 0.20, interval 0.0569 to 0.3404 (first less second; here the sign is turned).
    before, after = bools((True, True, 36), (True, False, 12), (False, True, 2), (False, False, 0))
    assert paired_change(before, after) == pytest.approx((-0.20, -0.3404, -0.0569), abs=1e-4)


def test_no_change_and_total_change_still_have_a_width() -> None:
    same = torch.tensor([True, False] * 5)
    value, low, high = paired_change(same, same)
    assert value == 0
    assert low < 0 < high
    value, low, high = paired_change(torch.ones(10, dtype=torch.bool), torch.zeros(10, dtype=torch.bool))
    assert value == -1
    assert low == -1 < high < -0.5


def test_a_paired_interval_matches_the_normal_one_on_many_images() -> None:
    # 300 of 1000 lost, 100 gained: mean -0.2, variance of a difference 0.4 - 0.04 = 0.36: +-1.96 * 0.6 / sqrt(1000).
    before, after = bools((True, False, 300), (False, True, 100), (True, True, 600))
    value, low, high = paired_change(before, after)
    half = 1.96 * 0.6 / math.sqrt(1000)
    assert value == pytest.approx(-0.2)
    assert (low, high) == pytest.approx((-0.2 - half, -0.2 + half), abs=0.004)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_paired_change_is_the_difference_of_shares_and_turns_with_its_sign(pairs: list[tuple[bool, bool]]) -> None:
    before, after = torch.tensor([b for b, _ in pairs]), torch.tensor([a for _, a in pairs])
    value, low, high = paired_change(before, after)
    assert value == pytest.approx((after.double().mean() - before.double().mean()).item())
    assert -1 <= low <= value <= high <= 1
    assert paired_change(after, before) == pytest.approx((-value, -high, -low))
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
    assert paired_change(before[order], after[order]) == (value, low, high)


def test_pairing_narrows_the_interval() -> None:
    # The same shares, 80 and 70 %: once every loss is one image's, once losses and gains cancel.
    paired = paired_change(*bools((True, True, 70), (True, False, 10), (False, False, 20)))
    crossed = paired_change(*bools((True, True, 50), (True, False, 30), (False, True, 20)))
    assert paired[0] == pytest.approx(crossed[0])
    assert paired[2] - paired[1] < (crossed[2] - crossed[1]) / 2


def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 25 images, 5 % lost: where a percentile bootstrap covers 74 %.
    rng = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(400):
        lost = torch.rand(25, generator=rng) < 0.05
        _, low, high = paired_change(torch.ones(25, dtype=torch.bool), ~lost)
        covered += low <= -0.05 <= high
    assert covered / 400 > 0.92


def test_the_mean_change_of_one_class_is_its_own_and_of_four_equal_ones_half_as_wide() -> None:
    one = bools((True, False, 4), (False, True, 1), (True, True, 5))
    value, low, high = paired_change(*one)
    assert mean_paired_change([one]) == pytest.approx((value, low, high))
    assert mean_paired_change([one] * 4) == pytest.approx(
        (value, value - (value - low) / 2, value + (high - value) / 2)
    )


def test_a_mean_of_counts_has_an_interval_between_those_of_the_counts() -> None:
    low, high = wilson_interval(2.5, 10)
    assert wilson_interval(2, 10)[0] < low < wilson_interval(3, 10)[0]
    assert wilson_interval(2, 10)[1] < high < wilson_interval(3, 10)[1]


def test_the_score_of_lip_by_hand() -> None:
    # 0.1 / 0.5 of the class is left; 0.6 of 0.8 of the others is a loss of 1/4; of three data sets the first lost 1/10,
    # the second nothing, the third rose, which counts as nothing: (0.2 + 0.25 + 0.1) / 5.
    others = [(0.5, 0.45), (0.9, 0.9), (0.4, 0.7)]
    assert lip_score((0.5, 0.1), (0.8, 0.6), others) == pytest.approx(0.55 / 5)


accuracies = st.floats(0.01, 1)


@given(accuracies, accuracies, st.lists(accuracies, min_size=3, max_size=3))
def test_the_score_of_lip_at_its_ends(forget: float, retain: float, others: list[float]) -> None:
    same, gone = [(a, a) for a in others], [(a, 0.0) for a in others]
    assert lip_score((forget, forget), (retain, retain), same) == pytest.approx(0.2)
    assert lip_score((forget, 0.0), (retain, 0.0), gone) == pytest.approx(0.8)
    assert lip_score((forget, 0.0), (retain, retain), same) == 0
    assert lip_score((forget, forget), (retain, 0.0), gone) == pytest.approx(1)


def test_what_was_never_right_has_no_score_of_lip() -> None:
    with pytest.raises(ValueError, match="accuracy of 0 before"):
        lip_score((0.0, 0.0), (0.5, 0.5), [])
    with pytest.raises(ValueError, match="accuracy of 0 before"):
        lip_score((0.5, 0.0), (0.5, 0.5), [(0.0, 0.1)])


MARMOSET = (51.0, 54.7, 59.8, 70.4, 60.9, 92.0, 68.9)


@pytest.mark.parametrize(
    ("after", "printed"),
    [
        ((0.0, 0.9, 32.2, 16.4, 22.9, 63.3, 22.1), 45.3),
        ((0.0, 56.7, 28.4, 13.1, 20.4, 54.9, 20.5), 55.6),
        ((0.7, 0.2, 1.3, 10.7, 0.2, 10.3, 1.6), 18.6),
        ((0.0, 50.2, 54.5, 85.7, 62.9, 81.5, 45.2), 91.0),
    ],
)
def test_the_score_of_subgroups_is_the_one_that_was_printed(after: tuple[float, ...], printed: float) -> None:
    # Of GA, EMMN, LIP and their own on RN50: target, siblings, all classes, and four other data sets.
    pairs = list(zip(MARMOSET, after, strict=True))
    assert 100 * subgroup_score(pairs[0], pairs[1:]) == pytest.approx(printed, abs=0.05)


ACCURACIES = st.floats(0.01, 1.0)


@given(ACCURACIES, st.lists(ACCURACIES, max_size=6))
def test_an_untouched_model_scores_high_and_one_that_only_forgot_scores_most(forget: float, kept: list[float]) -> None:
    same = [(one, one) for one in kept]
    assert subgroup_score((forget, forget), same) == pytest.approx(untouched_score(len(kept)))
    assert subgroup_score((forget, 0.0), same) == pytest.approx(1)
    # Gains elsewhere make up for nothing; all lost and nothing forgotten is 0.
    assert subgroup_score((forget, 0.0), [(one / 2, one) for one in kept]) == pytest.approx(1)
    assert subgroup_score((forget, forget), [(one, 0.0) for one in kept]) == 0
    assert untouched_score(6) == pytest.approx(0.857, abs=5e-4)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_harmonic_mean_lies_between_both_and_at_the_lower_end_for_none(forget: float, retain: float) -> None:
    found = h_mean(forget, retain)
    assert min(1 - forget, retain) - 1e-12 <= found <= max(1 - forget, retain) + 1e-12
    assert h_mean(1.0, retain) == h_mean(forget, 0.0) == 0
    assert h_mean(0.25, 0.5) == pytest.approx(2 * 0.75 * 0.5 / 1.25)


def test_a_score_of_subgroups_relative_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="relative to an accuracy of 0"):
        subgroup_score((0.5, 0.0), [(0.0, 0.1)])


def test_the_interval_of_a_difference_adds_distances_in_squares() -> None:
    # 0.8 (0.5 to 0.9) less 0.3 (0.26 to 0.7): 0.5 - hypot(0.3, 0.4) and 0.5 + hypot(0.1, 0.04).
    low, high = difference_interval((0.8, 0.5, 0.9), (0.3, 0.26, 0.7))
    assert [low, high] == pytest.approx([0.0, 0.5 + 0.0116**0.5])
    assert difference_interval((1.0, 0.9, 1.0), (0.0, 0.0, 0.1))[1] == 1.0
