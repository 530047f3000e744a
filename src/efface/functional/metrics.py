"""Fractions, and intervals that say how well a number of images pins them down."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 % intervals."""


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a fraction.

    Wilson 1927. Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and at 1, where forgetting
    is measured.

    Args:
        right: successes, 0 to ``n``.
        n: trials, at least 1.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"right must lie between 0 and n and n be at least 1, got {right} of {n}")
    share = right / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    # At the ends the two terms are equal; rounding must not leave the fraction outside of its own interval.
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def mean_interval(rights: list[int], ns: list[int]) -> tuple[float, float, float]:
    """The mean of independent fractions and a 95 % interval of it, from their Wilson limits.

    The square-and-add rule (MOVER; Zou and Donner 2008), which keeps the single intervals' skew: the distance from the
    mean to its lower limit is the root of the summed squares of the single distances, over their number.

    Args:
        rights: successes of each.
        ns: trials of each, at least 1.
    """
    shares = [right / n for right, n in zip(rights, ns, strict=True)]
    limits = [wilson_interval(right, n) for right, n in zip(rights, ns, strict=True)]
    mean = sum(shares) / len(shares)
    below = math.hypot(*(share - low for share, (low, _) in zip(shares, limits, strict=True))) / len(shares)
    above = math.hypot(*(high - share for share, (_, high) in zip(shares, limits, strict=True))) / len(shares)
    return mean, max(0.0, mean - below), min(1.0, mean + above)


def paired_change(
    before: Bool[Tensor, " n"], after: Bool[Tensor, " n"], *, rng: torch.Generator, draws: int = 10_000
) -> tuple[float, float, float]:
    """How much a share of right answers changed on the same images, with a 95 % percentile bootstrap interval.

    A bootstrap over images draws only how many of them were lost, gained or neither, so it draws from that multinomial
    instead of from the images: the same distribution, for any number of images.

    Args:
        before: right or not, an image each.
        after: the same images, afterwards.
        rng: on the CPU.
        draws: bootstrap samples.

    Returns:
        After less before in [-1, 1], and the interval's ends.
    """
    n = len(before)
    lost = (before & ~after).sum().item() / n
    gained = (~before & after).sum().item() / n
    losses = torch.binomial(torch.full((draws,), float(n)), torch.full((draws,), lost), generator=rng)
    # Given the losses, gains are binomial among the other images.
    share = min(1.0, gained / (1 - lost)) if lost < 1 else 0.0
    gains = torch.binomial(n - losses, torch.full((draws,), share), generator=rng)
    changes: Float[Tensor, " draws"] = (gains - losses).double() / n
    low, high = changes.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return gained - lost, low, high
