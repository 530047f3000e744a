"""Averages of the merged weights, not of their factors."""

import pytest
import torch
from torch import Tensor

from efface.methods.subgroup.average import Average, Kind
from efface.methods.subgroup.layers import layers
from efface.methods.subgroup.low_rank import Adapted, adapted
from efface.testing import tiny_dual_encoder

NAME = "image.pool.weight"


def copy() -> Adapted:
    model = tiny_dual_encoder()
    return adapted(model, layers(model), 2, 4, rng=torch.Generator().manual_seed(0))


@torch.no_grad()
def course(average: Average, of: Adapted, steps: int, seed: int = 1) -> list[Tensor]:
    """The weights before and after each of some steps that go anywhere."""
    rng, found = torch.Generator().manual_seed(seed), [of.weights()[NAME]]
    for done in range(1, steps + 1):
        for parameter in of.parameters:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
        average.add(done)
        found.append(of.weights()[NAME])
    return found


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("ema", [0.5**3, 0.5**3, 0.5**2, 0.5]),
        # x (1 - x) at 1/8, 3/8, 5/8 and 7/8 is 7/64, 15/64, 15/64, 7/64; to the power of -1/2, up to a factor:
        ("beta", [7**-0.5, 15**-0.5, 15**-0.5, 7**-0.5]),
        ("none", [0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_it_is_the_weighted_mean_of_all_values_from_the_first_on(kind: Kind, weights: list[float]) -> None:
    of = copy()
    average = Average(kind, of, 3, 0.5, 0.5)
    values = course(average, of, 3)
    expected = sum((w * v for w, v in zip(weights, values, strict=True)), torch.zeros(())) / sum(weights)
    torch.testing.assert_close(average.weights[NAME], expected)


def test_each_average_computes_what_it_needs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Far beyond what the setting takes: of no concern where nothing is averaged by it.
    of = copy()
    last, ema = Average("none", of, 50, 0.9, 1e6), Average("ema", of, 50, 0.9, 1e6)
    course(ema, of, 2)
    assert ema.ratios == last.ratios == []
    # The last weights are read once, at the end.
    read: list[Adapted] = []
    weights = Adapted.weights

    def noted(self: Adapted) -> dict[str, Tensor]:
        read.append(self)
        return weights(self)

    monkeypatch.setattr(Adapted, "weights", noted)
    for done in range(1, 51):
        last.add(done)
    assert (read, last.state()) == ([], {})
    assert torch.equal(last.weights[NAME], of.current[NAME]())
    assert len(read) == 1


@pytest.mark.parametrize("kind", ["ema", "beta", "none"])
def test_it_goes_on_from_a_state(kind: Kind) -> None:
    of, again = copy(), copy()
    average, other = Average(kind, of, 4, 0.9, 0.5), Average(kind, again, 4, 0.9, 0.5)
    course(average, of, 2)
    other.load_(average.state())
    again.load_(of.state())
    course(average, of, 2, seed=5)
    course(other, again, 2, seed=5)
    assert torch.equal(average.weights[NAME], other.weights[NAME])
