"""Dead leaves: random images that are made of overlapping shapes, as the world is.

Their statistics are nearer to photographs' than those of any noise: edges, flat areas, shapes of every size that hide
one another, one palette an image. Matheron 1968 for the model; Baradad et al., NeurIPS 2021 (arXiv 2106.05963), for
what networks learn from such images.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Pixels = Float[Tensor, "batch 3 height width"]
"""Values in [0, 1]."""

CHUNK = 256
"""Images that are drawn at once; it decides which random numbers are used for what."""
SMALLEST, LARGEST = 0.02, 0.45
"""Half the size of a leaf, as a share of the side."""


def dead_leaves(count: int, height: int, width: int, *, rng: torch.Generator, most: int = 20) -> Pixels:
    """Random images of ellipses, polygons and strips, painted one over the other.

    Args:
        count: how many; at least 0.
        height: in pixels.
        width: in pixels.
        rng: its device is where they are made.
        most: leaves an image, at most; the number is drawn so that its logarithm is uniform.
    """
    if not count:
        return torch.empty((0, 3, height, width), device=rng.device)
    sizes = [min(CHUNK, count - first) for first in range(0, count, CHUNK)]
    return torch.cat([_chunk(size, height, width, rng, most) for size in sizes])


def _chunk(n: int, height: int, width: int, rng: torch.Generator, most: int) -> Pixels:
    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng, device=rng.device)

    y, x = torch.meshgrid(
        (torch.arange(height, device=rng.device) + 0.5) / height,
        (torch.arange(width, device=rng.device) + 0.5) / width,
        indexing="ij",
    )
    leaves = (float(most) ** uniform(n)).round()
    # A palette: most colors lie near one of the image's own, the others anywhere.
    base, spread = uniform(n, 3), 0.05 + 0.45 * uniform(n, 1)

    def color() -> Tensor:
        own = (base + spread * (2 * uniform(n, 3) - 1) * 1.7).clamp(0, 1)
        return torch.where(uniform(n, 1) < 0.5, own, uniform(n, 3))

    images = color()[:, :, None, None].expand(n, 3, height, width)
    for index in range(most):
        leaf = _leaf(x, y, *uniform(8, n).unbind()) & (leaves > index).view(-1, 1, 1)
        images = torch.where(leaf[:, None], color()[:, :, None, None], images)
    return images


def _leaf(x: Tensor, y: Tensor, *draws: Float[Tensor, " batch"]) -> Bool[Tensor, "batch height width"]:
    """Where one leaf of each image lies, from eight uniform draws an image."""
    column, row, angle, size, aspect, kind, skew, bevel = (draw.view(-1, 1, 1) for draw in draws)
    # Few large, many small: the radius falls off as the inverse of a uniform number does.
    radius = (SMALLEST / (size + SMALLEST / LARGEST)).clamp(SMALLEST, LARGEST)
    turn = 2 * torch.pi * angle
    across = (x - column) * torch.cos(turn) + (y - row) * torch.sin(turn)
    along = (y - row) * torch.cos(turn) - (x - column) * torch.sin(turn)
    narrow = radius * (0.3 + 0.7 * aspect)
    ellipse = (across / radius) ** 2 + (along / narrow) ** 2 < 1
    strip = (across.abs() < 2 * radius) & (along.abs() < 0.2 * radius)
    # A rectangle with its sides pushed askew and its corners cut: three to eight edges.
    box = (across.abs() < radius) & ((along + (skew - 0.5) * across).abs() < narrow)
    polygon = box & ((across.abs() + along.abs()) < (0.9 + bevel) * radius)
    return torch.where(kind < 0.3, ellipse, torch.where(kind < 0.55, strip, polygon))
