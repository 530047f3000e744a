"""Averages against their closed forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.averaging import beta_ratios, beta_weights, moving_average, soup, weighted_average

values = st.lists(st.floats(-100, 100), min_size=1, max_size=12)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(values, st.floats(0, 0.999))
def test_the_moving_average_is_the_sum_that_it_stands_for(course: list[float], decay: float) -> None:
    average = scalar(course[0])
    for value in course[1:]:
        average = moving_average(average, scalar(value), decay)
    n = len(course) - 1
    expected = decay**n * course[0] + sum((1 - decay) * decay ** (n - t) * course[t] for t in range(1, n + 1))
    assert average.item() == pytest.approx(expected, abs=1e-9)


def test_the_beta_weights_by_hand() -> None:
    # Three values at 1/6, 1/2 and 5/6 of the way: x (1 - x) is 5/36, 1/4, 5/36, to the power of -1/2.
    assert beta_weights(2, 0.5).tolist() == pytest.approx([6 / 5**0.5, 2.0, 6 / 5**0.5])
    assert beta_weights(3, 1.0).tolist() == [1.0] * 4


def test_the_largest_exponent_has_a_ratio_for_every_value_of_a_long_course() -> None:
    ratios = beta_ratios(100_000, 10.0)
    assert torch.isfinite(ratios).all()
    assert (ratios > 0).all()
    # x (1 - x) is nearly three times as large at the second value as at the first.
    assert ratios[0] == pytest.approx(3**9, rel=1e-3)


@given(st.integers(0, 30), st.floats(0.05, 5))
def test_the_beta_weights_are_the_same_from_both_ends(steps: int, beta: float) -> None:
    weights = beta_weights(steps, beta)
    assert len(weights) == steps + 1
    torch.testing.assert_close(weights, weights.flip(0))
    assert (weights > 0).all()


@given(values, st.floats(0.1, 10))
def test_the_running_weighted_average_is_the_weighted_mean(course: list[float], beta: float) -> None:
    weights = beta_weights(len(course) - 1, beta).tolist()
    average = scalar(course[0])
    for value, ratio in zip(course[1:], beta_ratios(len(course) - 1, beta).tolist(), strict=True):
        average = weighted_average(average, scalar(value), ratio)
    expected = sum(w * v for w, v in zip(weights, course, strict=True)) / sum(weights)
    assert average.item() == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_a_soup_lies_between_its_ends_and_is_them_at_its_ends(seed: int, coefficient: float) -> None:
    reference, edited = torch.randn((2, 7), generator=torch.Generator().manual_seed(seed)).unbind()
    assert torch.equal(soup(reference, edited, 0.0), reference)
    assert torch.equal(soup(reference, edited, 1.0), edited)
    expected = coefficient * edited.double() + (1 - coefficient) * reference.double()
    torch.testing.assert_close(soup(reference, edited, coefficient).double(), expected, atol=1e-6, rtol=1e-6)


def test_the_ends_of_a_soup_are_copies() -> None:
    reference, edited = torch.zeros(2), torch.ones(2)
    soup(reference, edited, 0.0).add_(5)
    soup(reference, edited, 1.0).add_(5)
    assert reference.tolist() == [0.0, 0.0]
    assert edited.tolist() == [1.0, 1.0]
