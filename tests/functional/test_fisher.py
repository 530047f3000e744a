"""The ratio against values derived by hand, and what it must be whatever it is given."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.fisher import mean_square, relative_fisher, top_rows

amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=6)


def row(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_layer_of_two_tensors_has_the_mean_square_of_all_their_entries() -> None:
    # (1 + 4 + 9 + 16) / 4: not the mean of the two means, which would be 11.75.
    gradients = [torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([4.0])]
    assert mean_square(gradients).item() == 7.5


def test_the_ratio_by_hand() -> None:
    found = relative_fisher(row([6.0, 1.0, 0.0]), row([2.0, 4.0, 5.0]))
    torch.testing.assert_close(found, row([3.0, 0.25, 0.0]), rtol=1e-9, atol=0)


@given(amounts, st.data())
def test_it_is_finite_at_least_zero_and_zero_where_nothing_is_to_forget(
    forget: list[float], data: st.DataObject
) -> None:
    retain = data.draw(st.lists(st.floats(0, 1e6), min_size=len(forget), max_size=len(forget)))
    found = relative_fisher(row(forget), row(retain))
    assert found.isfinite().all()
    assert (found >= 0).all()
    assert (found[row(forget) == 0] == 0).all()


def test_it_is_defined_where_both_are_nothing() -> None:
    assert relative_fisher(row([0.0, 0.0]), row([0.0, 0.0])).tolist() == [0.0, 0.0]


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6))
def test_without_anything_to_keep_the_order_is_that_of_what_is_to_forget(forget: list[float]) -> None:
    found = relative_fisher(row(forget), torch.zeros(len(forget), dtype=torch.float64))
    order = found.argsort(stable=True)
    assert (row(forget)[order].diff() >= 0).all()


@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3), st.floats(1e-6, 1e6))
def test_it_does_not_depend_on_the_unit_of_the_similarity(forget: list[float], unit: float) -> None:
    retain = row([0.5, 0.0, 2.0])
    found = relative_fisher(row(forget), retain)
    torch.testing.assert_close(relative_fisher(unit * row(forget), unit * retain), found)


@pytest.mark.parametrize(
    ("share", "rows"), [(0.01, (2,)), (0.25, (2,)), (0.5, (0, 2)), (0.51, (0, 2, 3)), (1.0, (0, 1, 2, 3))]
)
def test_the_largest_are_taken_and_of_equal_ones_the_first(share: float, rows: tuple[int, ...]) -> None:
    assert top_rows(row([3.0, 1.0, 9.0, 1.0 + 1e-6]), share) == rows
    assert top_rows(row([1.0] * 4), share) == tuple(range(math.ceil(4 * share)))
