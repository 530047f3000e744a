"""Logistic regression on features: a linear probe."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from efface.types import Labels

STEPS = 200
"""Of L-BFGS, at most; the problem is convex, and some dozens do."""
STILL = 1e-6
"""A feature that varies by less than this, relative to its size, is the same in all images but for rounding."""

Vectors = Float[Tensor, "batch channels"]
"""Features of any length."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear classifier of features that are standardised first."""

    mean: Float[Tensor, " channels"]
    scale: Float[Tensor, " channels"]
    weight: Float[Tensor, "classes channels"]
    bias: Float[Tensor, " classes"]

    def __call__(self, features: Vectors) -> Labels:
        """The class of each vector."""
        standard = (features.double() - self.mean) / self.scale
        return (standard @ self.weight.T + self.bias).argmax(dim=1)


def fit_probe(features: Vectors, labels: Labels, classes: int, *, inverse_penalty: float = 1.0) -> Probe:
    """Multinomial logistic regression on standardised features.

    Minimises the summed cross-entropy plus the squared weights over twice ``inverse_penalty``, without the bias, which
    is the C of scikit-learn and its default. Features are shifted and scaled to mean 0 and variance 1 over the images
    that are given, so that neither their length nor their unit matters.

    Args:
        features: of at least one image.
        labels: from 0 to ``classes`` - 1.
        classes: how many there are; those without an image are hardly ever answered.
        inverse_penalty: above 0; large values leave the weights free.
    """
    given = features.double()
    mean, size = given.mean(dim=0), given.square().mean(dim=0).sqrt()
    spread = given.std(dim=0, correction=0)
    scale = torch.where(spread > STILL * size, spread, torch.inf)
    standard = (given - mean) / scale
    weight = torch.zeros(classes, standard.shape[1], dtype=torch.float64, device=given.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, device=given.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        misfit = F.cross_entropy(standard @ weight.T + bias, labels, reduction="sum")
        value = (misfit + weight.square().sum() / (2 * inverse_penalty)) / len(labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Probe(mean, scale, weight.detach(), bias.detach())
