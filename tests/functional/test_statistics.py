"""Statistics against torch's own normalisations, and the distance against a value derived by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from efface.functional.statistics import Statistics, channel_statistics, merged, statistics_distance


def hidden(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 1


@given(st.integers(0, 2**31))
def test_of_maps_they_are_what_batch_norm_divides_by(seed: int) -> None:
    maps = hidden(seed, 4, 5, 3, 2)
    found = channel_statistics(maps, 1, 1e-3)
    normed = (maps - found.mean.view(1, -1, 1, 1)) / found.deviation.view(1, -1, 1, 1)
    layer = nn.BatchNorm2d(5, eps=1e-3, affine=False).double().train()
    torch.testing.assert_close(normed, layer(maps))


def test_of_tokens_and_of_single_vectors_each_feature_is_a_channel() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 2.0]], [[5.0, 2.0], [7.0, 2.0]]])
    found = channel_statistics(tokens, -1, 1e-6)
    assert found.mean.tolist() == [4.0, 2.0]
    # The variance of 1, 3, 5, 7 is 5; the other feature has none.
    assert found.deviation.tolist() == pytest.approx([math.sqrt(5), 1e-3], rel=1e-5)
    flat = channel_statistics(tokens.flatten(0, 1), 1, 1e-6)
    torch.testing.assert_close(flat.mean, found.mean)
    torch.testing.assert_close(flat.deviation, found.deviation)


def test_the_distance_by_hand() -> None:
    # Means apart by (3, 4), deviations by (0, 0); in the second layer means by 0 and deviations by 2.
    found = [Statistics(torch.tensor([3.0, 4.0]), torch.ones(2)), Statistics(torch.zeros(1), torch.tensor([3.0]))]
    stored = [Statistics(torch.zeros(2), torch.ones(2)), Statistics(torch.zeros(1), torch.ones(1))]
    assert statistics_distance(found, stored).item() == 7.0
    assert statistics_distance(stored, found).item() == 7.0
    assert statistics_distance(found, found).item() == 0.0


def test_its_gradient_is_finite_at_zero_and_in_a_channel_without_variance() -> None:
    same = torch.ones((2, 3, 1, 1), requires_grad=True)
    found = channel_statistics(same, 1, 1e-5)
    at_zero = statistics_distance([found], [Statistics(found.mean.detach(), found.deviation.detach())])
    away = statistics_distance([found], [Statistics(torch.zeros(3), torch.ones(3))])
    for value in (at_zero, away):
        (gradient,) = torch.autograd.grad(value, same, retain_graph=True)
        assert gradient.isfinite().all()


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_of_several_batches_they_are_those_of_all_together(seed: int, first: int) -> None:
    maps = hidden(seed, 6, 3, 2, 2)
    parts = [channel_statistics(part, 1, 1e-6) for part in (maps[:first], maps[first:])]
    together, whole = merged(parts, [first, 6 - first]), channel_statistics(maps, 1, 1e-6)
    torch.testing.assert_close(together.mean, whole.mean)
    torch.testing.assert_close(together.deviation, whole.deviation)


def test_layers_that_do_not_belong_together_are_an_error() -> None:
    one = Statistics(torch.zeros(1), torch.ones(1))
    with pytest.raises(ValueError, match="zip"):
        statistics_distance([one, one], [one])
