"""What ascent on images is made of: steps along a gradient, a blur, and the test that ends it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from efface.types import Images, Labels


def unit_step(images: Images, gradient: Images, rate: float) -> Images:
    """The images moved by ``rate`` in the direction of the gradient, each by its own."""
    length: Tensor = gradient.flatten(1).norm(dim=1)
    # Where there is no gradient there is no step.
    return images + rate * gradient / length.clamp_min(1e-30).view(-1, 1, 1, 1)


def blur(images: Images, sigma: float) -> Images:
    """A Gaussian blur along height and width, mirrored at the edges with the edge pixel repeated.

    Cut off at four standard deviations, as scipy's ``gaussian_filter1d`` is by default.
    """
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets.to(images.dtype) / sigma) ** 2)
    weights = weights / weights.sum()
    for axis in (-2, -1):
        size = images.shape[axis]
        # Symmetric mirroring: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ..., with period 2n.
        rows = (torch.arange(size, device=images.device)[:, None] + offsets) % (2 * size)
        rows = torch.where(rows < size, rows, 2 * size - 1 - rows)
        matrix = torch.zeros((size, size), device=images.device, dtype=images.dtype)
        matrix = matrix.scatter_add(1, rows, weights.expand(size, -1))
        images = matrix @ images if axis == -2 else images @ matrix.T
    return images


def accepted(
    cosines: Float[Tensor, "batch classes"], targets: Labels, scale: float, threshold: float
) -> tuple[Bool[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Whether each image's class is its first choice with a probability above ``threshold``, and that probability.

    Args:
        cosines: of images with classes.
        targets: the class of each image.
        scale: what cosines are multiplied with.
        threshold: in [0, 1).
    """
    probabilities = (scale * cosines).softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    return (cosines.argmax(dim=-1) == targets) & (probabilities > threshold), probabilities
