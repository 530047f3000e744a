import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.projections import damping_map, distinct_direction, orthonormal

seeds = st.integers(0, 2**31)
ridges = st.floats(0, 100)


def units(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1)


def test_the_direction_in_two_dimensions_by_hand() -> None:
    # One other class r = (1, 0): A = diag(1, 0), so u = r/(1 + ridge) shrunk in the first axis, kept in the second:
    # (0.6 * 0.25 / 1.25, 0.8).
    classes = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    direction = distinct_direction(classes, 1, ridge=0.25)
    torch.testing.assert_close(direction, torch.tensor([0.6 * 0.25 / 1.25, 0.8], dtype=torch.float64))


@given(seeds)
def test_the_direction_equals_the_textbook_ridge_residual(seed: int) -> None:
    classes = units(5, 8, seed=seed)
    others, w = classes[torch.arange(5) != 2], classes[2]
    gram = others.T @ others
    residual = w - gram @ torch.linalg.inv(gram + 0.1 * torch.eye(8, dtype=torch.float64)) @ w
    torch.testing.assert_close(distinct_direction(classes, 2, ridge=0.1), residual)


@given(seeds)
def test_without_ridge_the_direction_is_orthogonal_to_every_other_class(seed: int) -> None:
    classes = units(5, 8, seed=seed)
    direction = distinct_direction(classes, 0, ridge=0.0)
    torch.testing.assert_close(classes[1:] @ direction, torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


@given(seeds)
def test_a_huge_ridge_gives_the_class_text_itself(seed: int) -> None:
    classes = units(5, 8, seed=seed)
    torch.testing.assert_close(distinct_direction(classes, 3, ridge=1e9), classes[3])


@given(seeds, ridges)
def test_the_direction_is_never_longer_than_the_class_text(seed: int, ridge: float) -> None:
    assert distinct_direction(units(12, 8, seed=seed), 1, ridge=ridge).norm() <= 1 + 1e-9


@given(seeds)
def test_a_map_of_strength_one_leaves_no_component_and_strength_zero_leaves_all(seed: int) -> None:
    direction, features = units(6, seed=seed), units(9, 6, seed=seed + 1)
    zero = torch.zeros(9, dtype=torch.float64)
    torch.testing.assert_close((features @ damping_map(direction[None], 1.0)) @ direction, zero, atol=1e-12, rtol=0)
    torch.testing.assert_close(features @ damping_map(direction[None], 0.0), features)


@given(seeds, st.floats(0, 5))
def test_a_map_takes_strength_times_the_component_and_nothing_else(seed: int, strength: float) -> None:
    direction, features = units(6, seed=seed), units(9, 6, seed=seed + 1)
    mapped = features @ damping_map(direction[None], strength)
    torch.testing.assert_close(mapped, features - strength * (features @ direction)[:, None] * direction)


@given(seeds, st.integers(1, 4))
def test_several_directions_are_taken_as_one_subspace(seed: int, count: int) -> None:
    directions, features = units(count, 6, seed=seed), units(9, 6, seed=seed + 1)
    # The last says nothing new.
    basis = orthonormal(torch.cat([directions, directions[:1] - directions[-1:]]), least=1e-9)
    assert len(basis) == count
    torch.testing.assert_close(basis @ basis.T, torch.eye(count, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(basis[0], directions[0])
    left = features @ damping_map(basis, 1.0) @ directions.T
    torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-8, rtol=0)


@given(seeds)
def test_what_is_to_be_forgotten_too_is_none_of_the_others(seed: int) -> None:
    classes = units(5, 8, seed=seed)
    alone = distinct_direction(classes[[0, 2, 4]], 1, ridge=0.1)
    torch.testing.assert_close(distinct_direction(classes, 2, ridge=0.1, besides=(1, 2, 3)), alone)
