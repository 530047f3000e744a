"""Which of some images of one kind look like none of the others.

How far an image lies from its nearest neighbors among the others, as the model sees them, says whether it has any. Only
neighbors count, so that a kind may have several looks. The logarithm of that distance is nearly normal where nothing is
strange, and an image counts as strange whose own lies further above the median than the largest of as many normal
numbers does in 99 of 100 draws: of a hundred kinds without a strange image about one has an image named.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from efface.types import Features

FEWEST = 8
"""Of fewer images nothing is said: what is usual among them is not known well enough."""
NEIGHBORS = 5
FALSE_ALARM = 0.01
"""How often one image or more of a kind is named where none is strange."""
DRAWS = 4000
CELLS = 2**22
"""Normal numbers that are drawn at most, 16 MB."""
NORMAL = 1.4826
"""The standard deviation of normal numbers over their median absolute deviation."""
NEAREST = 1e-4
"""Distances below it are one: copies of an image."""


def strangeness(features: Features) -> Float[Tensor, " batch"]:
    """How far each image lies from its nearest neighbors, against what is usual, in standard deviations.

    Args:
        features: of at least :data:`FEWEST` images.
    """
    near = (features @ features.T).fill_diagonal_(-2).topk(NEIGHBORS, dim=1).values
    return robust((1 - near.mean(dim=1)).clamp_min(NEAREST).log())


def robust(values: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """How far each value lies above the median, in standard deviations as the median absolute deviation tells them.

    All 0 where more than half of the values are one.
    """
    off = values - values.quantile(0.5, dim=-1, keepdim=True)
    spread = NORMAL * off.abs().quantile(0.5, dim=-1, keepdim=True)
    return torch.where(spread > 0, off / spread.clamp_min(torch.finfo(off.dtype).tiny), 0.0)


def limit(n: int) -> float:
    """What the largest of n normal numbers, on the scale of :func:`robust`, stays below in 99 of 100 draws.

    By simulation, with random numbers of its own: the same answer each time.
    """
    draws = min(DRAWS, math.ceil(CELLS / n))
    values = torch.randn((draws, n), generator=torch.Generator().manual_seed(0))
    return float(robust(values).amax(dim=1).quantile(1 - FALSE_ALARM))


def outliers(features: Features) -> Bool[Tensor, " batch"]:
    """Which images look like none of the others; none of fewer than :data:`FEWEST`."""
    n = len(features)
    if n < FEWEST:
        return torch.zeros(n, dtype=torch.bool)
    return strangeness(features.cpu()) > limit(n)
