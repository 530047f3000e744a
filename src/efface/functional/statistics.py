"""How far the statistics of hidden features are from those that a network was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from efface.types import Scalar


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation of each channel of a layer's input.

    Attributes:
        mean: one a channel.
        deviation: above 0.
    """

    mean: Float[Tensor, " channels"]
    deviation: Float[Tensor, " channels"]


def channel_statistics(hidden: Float[Tensor, "..."], axis: int, eps: float) -> Statistics:
    """The statistics of each channel over all other axes: the images of a batch, and their places or tokens.

    Args:
        hidden: what enters a normalisation.
        axis: of the channels.
        eps: added to the variance, as the normalisation does; above 0, so that a channel without variance has a
            gradient.
    """
    channels = hidden.movedim(axis, -1).flatten(0, -2)
    variance, mean = torch.var_mean(channels, dim=0, correction=0)
    return Statistics(mean, (variance + eps).sqrt())


def statistics_distance(found: Sequence[Statistics], stored: Sequence[Statistics]) -> Scalar:
    r"""``sum_l ||mu_l - m_l|| + ||sigma_l - s_l||`` over layers, in Euclidean length.

    The alignment of retain images with pre-training (arXiv 2506.03117, the reminding stage), after the statistics loss
    of DeepInversion (Yin et al., CVPR 2020), which compares variances.

    Args:
        found: of a batch, layer by layer.
        stored: those to come near to, of the same layers.

    Returns:
        At least 0; 0 where all are equal.
    """
    terms = [
        torch.linalg.vector_norm(one.mean - other.mean) + torch.linalg.vector_norm(one.deviation - other.deviation)
        for one, other in zip(found, stored, strict=True)
    ]
    return torch.stack(terms).sum()


def merged(parts: Sequence[Statistics], counts: Sequence[int]) -> Statistics:
    """The statistics of several batches together, as if they were one.

    Args:
        parts: of each batch.
        counts: how many values of a channel each is over, or numbers in the same ratios.
    """
    weights = torch.tensor(counts, dtype=torch.float64, device=parts[0].mean.device)
    weights = (weights / weights.sum()).to(parts[0].mean.dtype)[:, None]
    means, deviations = torch.stack([one.mean for one in parts]), torch.stack([one.deviation for one in parts])
    mean = (weights * means).sum(dim=0)
    # The mean of the variances within, and the variance of the means.
    variance = (weights * (deviations.square() + (means - mean).square())).sum(dim=0)
    return Statistics(mean, variance.sqrt())
