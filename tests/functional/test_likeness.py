import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.likeness import centered_cosine, jackknifed, linear_cka, procrustes_likeness
from efface.functional.metrics import Z95

seeds = st.integers(0, 2**31)
few = settings(max_examples=10)
both = pytest.mark.parametrize("likeness", [linear_cka, procrustes_likeness])
Likeness = Callable[[Tensor, Tensor], float]


def points(n: int, channels: int, seed: int) -> Tensor:
    return torch.randn((n, channels), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@both
@few
@given(seeds, st.floats(1e-3, 1e3))
def test_a_rotation_a_shift_and_a_factor_change_nothing(likeness: Likeness, seed: int, factor: float) -> None:
    features = points(9, 5, seed)
    rotation = torch.linalg.qr(points(5, 5, seed + 1)).Q
    moved = factor * features @ rotation + points(1, 5, seed + 2)
    assert likeness(features, moved) == pytest.approx(1, abs=1e-9)
    other = points(9, 7, seed + 3)
    assert likeness(moved, other) == pytest.approx(likeness(features, other), abs=1e-9)


@both
@few
@given(seeds, st.integers(3, 12), st.integers(1, 20), st.integers(1, 20))
def test_it_is_symmetric_and_between_0_and_1(likeness: Likeness, seed: int, n: int, p: int, q: int) -> None:
    one, other = points(n, p, seed), points(n, q, seed + 1)
    assert 0 <= likeness(one, other) <= 1
    assert likeness(one, other) == pytest.approx(likeness(other, one), abs=1e-9)


def test_two_features_of_four_images_by_hand() -> None:
    # Columns a = (1, -1, 0, 0) and b = (0, 0, 1, -1), both centered, orthogonal and of squared length 2.
    a, b = torch.tensor([1.0, -1, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    both_of_them, only_a = torch.stack([a, b], dim=1), a[:, None]
    # Y^T X = (2, 0): squared norm 4; ||X^T X||_F = sqrt(8), ||Y^T Y||_F = 2.
    assert linear_cka(both_of_them, only_a) == pytest.approx(4 / (math.sqrt(8) * 2))
    # Nuclear norm 2; ||X||_F = 2, ||Y||_F = sqrt(2).
    assert procrustes_likeness(both_of_them, only_a) == pytest.approx(2 / (2 * math.sqrt(2)))
    assert linear_cka(only_a, b[:, None]) == procrustes_likeness(only_a, b[:, None]) == 0


def test_one_loud_direction_hides_a_lost_quiet_one_from_cka_and_less_from_procrustes() -> None:
    # Of two directions with deviations 10 and 1 the quiet one is lost: 1 / sqrt(1 + 1e-4) against 10 / sqrt(101).
    loud, quiet = torch.tensor([10.0, -10, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    whole, left = torch.stack([loud, quiet], dim=1), loud[:, None]
    assert linear_cka(whole, left) == pytest.approx(1 / math.sqrt(1 + 1e-4))
    assert procrustes_likeness(whole, left) == pytest.approx(10 / math.sqrt(101))


@both
def test_what_does_not_vary_is_like_what_does_not_vary_either_and_like_nothing_else(likeness: Likeness) -> None:
    still = torch.ones((5, 3))
    assert likeness(still, 2 * still) == 1
    assert likeness(still, points(5, 3, 0)) == 0


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    # Of a mean the jackknife's error is the sample's deviation over the root of n, to the last digit.
    values = torch.linspace(0.4, 0.6, 8, dtype=torch.float64)[:, None]
    value, low, high = jackknifed(lambda one, _: one.mean().item(), values, values, groups=8)
    error = values.std().item() / math.sqrt(8)
    assert (value, low, high) == pytest.approx((0.5, 0.5 - Z95 * error, 0.5 + Z95 * error))


@both
@few
@given(seeds)
def test_an_interval_holds_its_figure_and_is_a_point_where_all_is_equal(likeness: Likeness, seed: int) -> None:
    one, other = points(20, 4, seed), points(20, 4, seed + 1)
    value, low, high = jackknifed(likeness, one, other)
    assert 0 <= low <= value <= high <= 1
    assert value == likeness(one, other)
    assert jackknifed(likeness, one, one) == pytest.approx((1, 1, 1))


def test_of_two_images_there_is_no_interval() -> None:
    with pytest.raises(ValueError, match="2 images"):
        jackknifed(linear_cka, torch.ones(2, 3), torch.ones(2, 3))


def test_the_centered_cosine_leaves_out_what_all_rows_have_in_common() -> None:
    shift = torch.tensor([100.0, 100.0, 0.0], dtype=torch.float64)
    rows = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 2.0], [0, 0, -2.0]], dtype=torch.float64) + shift
    turned = torch.tensor([[0, 1.0, 0], [-3.0, 0, 0], [0, 0, -1.0], [0, 0, -2.0]], dtype=torch.float64) + shift
    # A right angle, the same way and further, the other way, the same.
    assert centered_cosine(rows, turned).tolist() == pytest.approx([0, 1, -1, 1])
    assert centered_cosine(rows, rows).tolist() == pytest.approx([1, 1, 1, 1])
    alike = torch.ones(2, 3)
    assert centered_cosine(alike, alike).tolist() == [1, 1]
    assert centered_cosine(alike, alike + 1).tolist() == [0, 0]
