"""Which layers hold some images more than others, by the squared gradients of their similarity to a text."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from efface.types import Scalar

FLOOR = 1e-12
"""Added to the information that the ratio is over, as a share of the largest there is: no layer divides by nothing."""


def mean_square(gradients: Sequence[Tensor]) -> Scalar:
    """The mean squared entry of the gradients of one layer, of one image.

    A mean over a layer's weights, so that a large layer does not come first for its size. Averaged over images it is
    the mean of the diagonal of the layer's Fisher information, when the similarity is taken for a log-likelihood. The
    gradient must be that of a single image: the square of a batch's is no sum of squares.

    Args:
        gradients: of the tensors of the layer, of any shapes.
    """
    count = sum(gradient.numel() for gradient in gradients)
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum() / count


def relative_fisher(forget: Float[Tensor, " layers"], retain: Float[Tensor, " layers"]) -> Float[Tensor, " layers"]:
    r"""How much more a layer has to do with the images to forget than with those to keep.

    ``I_l = E_forget[(d sim / d theta_l)^2] / E_retain[(d sim / d theta_l)^2]`` (arXiv 2506.03117, the forgetting stage;
    docs/methods/subgroup.md says what it leaves open).

    Args:
        forget: Fisher information of each layer on the images to forget, at least 0.
        retain: the same on those to keep; all 0 where there are none, which leaves the order of ``forget``.

    Returns:
        At least 0 and finite; 0 where the layer has nothing to do with the images to forget.
    """
    largest = torch.maximum(forget.max(), retain.max())
    ratio = forget / (retain + FLOOR * largest)
    return torch.where(forget > 0, ratio, torch.zeros_like(ratio))


def top_rows(scores: Float[Tensor, " layers"], share: float) -> tuple[int, ...]:
    """The rows with the largest scores, in ascending order of rows; of equal scores the first.

    Args:
        scores: one a layer.
        share: of the layers, rounded up, in (0, 1].
    """
    count = math.ceil(share * len(scores))
    order = torch.sort(scores, descending=True, stable=True).indices
    return tuple(sorted(order[:count].tolist()))
