"""What a search finds of functions that are known, and how often it asks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.functional.searching import Measure, Measured, best_of, by_bisection, by_grid


def threshold(at: float, asked: list[float] | None = None) -> Measure:
    """Forgets from a coefficient on, and keeps the less the more of the edit there is."""

    def measure(coefficient: float) -> Measured:
        if asked is not None:
            asked.append(coefficient)
        return Measured(coefficient, 0.0 if coefficient >= at else 1.0, 1 - coefficient)

    return measure


def test_the_best_is_allowed_keeps_most_and_then_forgets_and_edits_most() -> None:
    path = [Measured(1.0, 0.0, 0.5), Measured(0.5, 0.2, 0.9), Measured(0.75, 0.1, 0.7), Measured(0.7, 0.1, 0.7)]
    assert best_of([*path, Measured(0.8, 0.05, 0.7)], 0.1) == Measured(0.8, 0.05, 0.7)
    assert best_of(path, 0.1) == path[2]
    assert best_of(path, 0.2) == path[1]
    assert best_of(path, 0.05) == path[0]
    assert best_of(path[1:], 0.05) is None
    # Of those allowed the whole edit keeps 0.5: 0.2 more are won, not 0.3.
    assert best_of(path, 0.1, gain=0.19) == path[2]
    assert best_of(path, 0.1, gain=0.3) == path[0]
    assert best_of([], 1.0) is None


def test_what_is_there_already_is_left_for_what_keeps_more_and_by_the_gain_for_less_of_the_edit() -> None:
    there = Measured(0.5, 0.0, 0.7)
    less, more = Measured(0.25, 0.0, 0.705), Measured(0.75, 0.0, 0.705)
    # Of all of the edit, which keeps less than what is there, it is no gain either.
    whole = Measured(1.0, 0.0, 0.6)
    assert best_of([whole, less], 0.0, 0.01, there) == there
    assert best_of([whole, less], 0.0, 0.005, there) == less
    assert best_of([whole, more], 0.0, 0.01, there) == more
    assert best_of([whole], 0.0, 0.01, there) == there
    assert best_of([Measured(0.25, 0.1, 0.9)], 0.0, 0.01, there) == there


measured = st.builds(Measured, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))


@given(st.lists(measured, max_size=6), measured, st.floats(0, 1), st.floats(0, 0.5))
def test_nothing_that_is_there_is_given_up(path: list[Measured], there: Measured, most: float, gain: float) -> None:
    there = replace(there, forget=min(there.forget, most))
    found = best_of(path, most, gain, there)
    assert found is not None
    assert found.keep >= there.keep
    assert found.forget <= most
    if found.coefficient < there.coefficient:
        assert found.keep >= there.keep + gain


def test_a_grid_has_both_ends_and_equal_steps() -> None:
    path = by_grid(threshold(0.6), 0.0, 5)
    assert [point.coefficient for point in path] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert best_of(path, 0.0) == path[3]


@given(st.floats(0.001, 1), st.integers(2, 12))
def test_bisection_comes_as_near_to_a_threshold_as_its_measurements_allow(at: float, count: int) -> None:
    asked: list[float] = []
    found = best_of(by_bisection(threshold(at, asked), 0.0, count), 0.0)
    assert len(asked) == len(set(asked)) == count
    assert found is not None
    assert at <= found.coefficient < at + 0.5 ** (count - 2)


def test_bisection_by_hand() -> None:
    assert [point.coefficient for point in by_bisection(threshold(0.6), 0.0, 5)] == [1.0, 0.0, 0.5, 0.75, 0.625]


def test_where_nothing_need_be_done_bisection_ends_at_once() -> None:
    path = by_bisection(threshold(0.0), 0.0, 9)
    assert [point.coefficient for point in path] == [1.0, 0.0]
    assert best_of(path, 0.0) == Measured(0.0, 0.0, 1.0)


@pytest.mark.parametrize("search", [by_grid, by_bisection])
def test_where_nothing_is_allowed_nothing_is_found(search: object) -> None:
    path = search(threshold(2.0), 0.5, 6)  # type: ignore[operator]
    assert len(path) == 6
    assert best_of(path, 0.5) is None


def test_bisection_goes_on_downwards_where_all_of_the_edit_is_not_allowed() -> None:
    def measure(coefficient: float) -> Measured:
        return Measured(coefficient, 0.0 if 0.2 < coefficient < 0.6 else 1.0, 1 - coefficient)

    path = by_bisection(measure, 0.0, 5)
    assert [point.coefficient for point in path] == [1.0, 0.0, 0.5, 0.25, 0.125]
    assert best_of(path, 0.0) == Measured(0.25, 0.0, 0.75)
