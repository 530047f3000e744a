import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.outliers import FALSE_ALARM, FEWEST, limit, outliers, robust, strangeness


def kind(n: int, rng: torch.Generator, dim: int = 32, spread: float = 0.6) -> Tensor:
    """Features of one kind: round a direction."""
    return F.normalize(torch.eye(dim)[0] + spread * F.normalize(torch.randn((n, dim), generator=rng), dim=1), dim=1)


def test_deviations_are_told_by_the_median_and_the_median_of_what_is_off_it() -> None:
    # Median 3, distances from it 2 1 0 1 97, of which the median is 1.
    found = robust(torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert torch.allclose(found * 1.4826, torch.tensor([-2.0, -1.0, 0.0, 1.0, 97.0]))
    assert not robust(torch.tensor([1.0, 1.0, 1.0, 9.0])).any()


@given(st.integers(0, 2**31), st.floats(0.01, 100), st.floats(-10, 10))
def test_deviations_have_no_unit(seed: int, factor: float, addend: float) -> None:
    values = torch.randn(11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(robust(values * factor + addend), robust(values), rtol=1e-6)


@pytest.mark.parametrize("n", [8, 40, 300])
def test_of_normal_numbers_one_draw_in_a_hundred_is_beyond_the_limit(n: int) -> None:
    values = torch.randn((3000, n), generator=torch.Generator().manual_seed(7))
    beyond = (robust(values).amax(dim=1) > limit(n)).float().mean().item()
    # Three standard deviations of a share of 3,000, and of the 4,000 that the limit comes from.
    assert beyond == pytest.approx(FALSE_ALARM, abs=0.0075)
    assert limit(n) == limit(n)


@pytest.mark.parametrize("n", [10, 40])
def test_of_kinds_without_a_strange_image_few_have_one_named(n: int) -> None:
    rng, most = torch.Generator().manual_seed(3), limit(n)
    alarms = sum(bool((strangeness(kind(n, rng)) > most).any()) for _ in range(300))
    # Distances to neighbors are only nearly normal, and depend on each other: stated is one kind in a hundred.
    assert alarms / 300 <= 0.04


@given(st.integers(0, 2**31), st.integers(0, 19))
def test_an_image_of_something_else_is_named_wherever_it_stands(seed: int, place: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = kind(20, rng, spread=0.4)
    features[place] = torch.eye(32)[5]
    found = outliers(features)
    assert found[place]
    assert strangeness(features).argmax() == place


def test_a_kind_may_have_several_looks() -> None:
    rng = torch.Generator().manual_seed(0)
    two = torch.cat([kind(15, rng, spread=0.3), kind(15, rng, spread=0.3).roll(1, dims=1)])
    assert not outliers(two).any()


def test_of_few_images_and_of_copies_nothing_is_said() -> None:
    rng = torch.Generator().manual_seed(0)
    strange = torch.cat([kind(FEWEST - 2, rng), torch.eye(32)[5:6]])
    assert not outliers(strange).any()
    assert not outliers(kind(1, rng).expand(12, -1)).any()
