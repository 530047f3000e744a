"""Fractions, and intervals that say how well a number of images pins them down."""

import math
import statistics
from collections.abc import Sequence

from jaxtyping import Bool
from torch import Tensor

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 % intervals."""


def wilson_interval(right: int | float, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a fraction.

    Wilson 1927. Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and at 1, where forgetting
    is measured.

    Args:
        right: successes, 0 to ``n``; a mean of several counts of the same trials need not be whole.
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


def drawn_interval(values: Sequence[float], n: int) -> tuple[float, float, float]:
    """The mean of shares that several draws of something found on the same trials, and a 95 % interval of it.

    It covers both which trials there are and what was drawn: on either side the distance from the mean to its Wilson
    limit and 1.96 standard errors of the mean over the draws are added in squares, and cut off at 0 and at 1. Of one
    draw nobody knows how far another would lie: then it covers the trials alone.

    Args:
        values: the share of each draw, at least one.
        n: the trials, the same in all draws.
    """
    mean = math.fsum(values) / len(values)
    low, high = wilson_interval(mean * n, n)
    error = Z95 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return mean, max(0.0, mean - math.hypot(mean - low, error)), min(1.0, mean + math.hypot(high - mean, error))


def paired_change(before: Bool[Tensor, " n"], after: Bool[Tensor, " n"]) -> tuple[float, float, float]:
    """How much a share of right answers changed on the same images, with a 95 % interval.

    Newcombe 1998 (Statistics in Medicine 17, 2635), method 10: the Wilson limits of both shares, put together with the
    correlation of the pairs. Unlike a percentile bootstrap it has a width where no image, or every image, changed,
    which is where forgetting is measured on few images.

    Args:
        before: right or not, an image each; at least one.
        after: the same images, afterwards.

    Returns:
        After less before in [-1, 1], and the interval's ends.
    """
    n = len(before)
    kept, lost = int((before & after).sum()), int((before & ~after).sum())
    gained = int((~before & after).sum())
    wrong = n - kept - lost - gained
    first, last = (kept + lost) / n, (kept + gained) / n
    (low_first, high_first), (low_last, high_last) = (
        wilson_interval(kept + lost, n),
        wilson_interval(kept + gained, n),
    )
    margins = (kept + lost) * (gained + wrong) * (kept + gained) * (lost + wrong)
    product = kept * wrong - lost * gained
    # A positive correlation is corrected for continuity; without variation there is none.
    correlation = 0.0 if margins == 0 else (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(margins)

    def distance(of_last: float, of_first: float) -> float:
        return math.sqrt(max(0.0, of_last**2 - 2 * correlation * of_last * of_first + of_first**2))

    change = last - first
    low = change - distance(last - low_last, high_first - first)
    high = change + distance(high_last - last, first - low_first)
    return change, max(-1.0, low), min(1.0, high)


def mean_paired_change(parts: list[tuple[Bool[Tensor, " _"], Bool[Tensor, " _"]]]) -> tuple[float, float, float]:
    """The mean of independent paired changes, a class each, with a 95 % interval by the square-and-add rule.

    Args:
        parts: before and after of each, as :func:`paired_change` takes them.
    """
    found = [paired_change(before, after) for before, after in parts]
    mean = sum(change for change, _, _ in found) / len(found)
    below = math.hypot(*(change - low for change, low, _ in found)) / len(found)
    above = math.hypot(*(high - change for change, _, high in found)) / len(found)
    return mean, max(-1.0, mean - below), min(1.0, mean + above)


def lip_score(forget: tuple[float, float], retain: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
    """The score that LIP is published with: what is left of the class, and what was lost elsewhere, averaged.

    Kravets and Namboodiri 2025 (arXiv 2407.07485): the mean over ``A_f' / A_f``, the relative loss of the other classes
    and that of each other data set, ``max(0, (A - A') / A)``. Lower is better, 0 the least. With three other data sets,
    as published, it is not what it seems at its ends: an untouched model scores 0.2, one that answers nothing right any
    more 0.8, so that a low score alone does not tell forgetting from having done little. Gains count as no loss.
    Give the accuracies beside it.

    Args:
        forget: accuracy on the forgotten class before and after; before above 0.
        retain: on the other classes of the same data, told apart among all of its classes; before above 0.
        others: on each other data set; before above 0.
    """
    (before, after), rest = forget, [retain, *others]
    _check_positive(forget, *rest)
    lost = [max(0.0, (first - last) / first) for first, last in rest]
    return (after / before + sum(lost)) / (1 + len(rest))


def subgroup_score(forget: tuple[float, float], kept: Sequence[tuple[float, float]]) -> float:
    """The Score that forgetting a subgroup is published with: what share was forgotten, and what was kept, averaged.

    Zhang et al., CVPR 2025 (arXiv 2506.03117), found by fitting its printed rows: the mean over ``(A_f - A_f') / A_f``
    and each ``min(1, A' / A)``, there six: siblings, all classes, and four other data sets. Higher is better, 1 the
    most. It does not start at 0: an untouched model scores ``k / (k + 1)`` with k of them, 85.7 % with six
    (:func:`untouched_score`). A gain makes up for no loss. Give the accuracies beside it.

    Args:
        forget: accuracy on what was to be forgotten before and after; before above 0.
        kept: on each of what was to stay; before above 0.
    """
    _check_positive(forget, *kept)
    before, after = forget
    return ((before - after) / before + sum(min(1.0, last / first) for first, last in kept)) / (1 + len(kept))


def untouched_score(kept: int) -> float:
    """The :func:`subgroup_score` of a model that was left as it was, with so many accuracies of what was to stay."""
    return kept / (1 + kept)


def h_mean(forget: float, retain: float) -> float:
    """The harmonic mean of what is answered wrong of the forgotten and right of the others; 0 where one of them is 0.

    Args:
        forget: accuracy afterwards on what was to be forgotten, 0 to 1.
        retain: on what was to stay.
    """
    both = (1 - forget) + retain
    return 2 * (1 - forget) * retain / both if both else 0.0


def _check_positive(*accuracies: tuple[float, float]) -> None:
    if any(before <= 0 for before, _ in accuracies):
        raise ValueError("relative to an accuracy of 0 before, no loss is defined")


def difference_interval(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float]:
    """The 95 % interval of the first less the second of two independent shares, from the interval of each.

    Newcombe 1998 (Statistics in Medicine 17, 873), method 10, where the intervals are Wilson's: the distances to the
    limits are added in squares.

    Args:
        first: the share and the ends of its interval.
        second: likewise.
    """
    (one, low_one, high_one), (other, low_other, high_other) = first, second
    low = one - other - math.hypot(one - low_one, high_other - other)
    high = one - other + math.hypot(high_one - one, other - low_other)
    return max(-1.0, low), min(1.0, high)
