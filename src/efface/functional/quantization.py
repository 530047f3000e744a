"""Weights in fewer bits, and weights without the smallest."""

import torch
from jaxtyping import Float
from torch import Tensor

Weight = Float[Tensor, "channels *inner"]
"""A weight of an output channel a row."""


def rounded_to_bits(weight: Weight, bits: int) -> Weight:
    """The weight after symmetric round-to-nearest quantization with one scale for each output channel.

    The largest magnitude of a channel becomes the largest integer, ``2^(bits - 1) - 1``; what is returned are the
    rounded values, not the integers.

    Args:
        weight: of any number of axes, the first one the output channels.
        bits: from 2 to 16.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must lie between 2 and 16, got {bits}")
    rows = weight.reshape(len(weight), -1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)
    return ((rows / scale).round() * scale).view_as(weight)


def without_smallest(weight: Weight, share: float) -> Weight:
    """The weight with that share of its entries at zero that are smallest in magnitude; of equal ones the earlier go.

    Args:
        weight: of any shape.
        share: in [0, 1]; the number of entries is rounded down.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    flat = weight.reshape(-1).clone()
    flat[flat.abs().argsort(stable=True)[: int(share * len(flat))]] = 0
    return flat.view_as(weight)
