"""Copies of images that show the same: for pools of training images that cost one forward pass each."""

import torch
from jaxtyping import Float
from torch import Tensor

Pixels = Float[Tensor, "batch 3 height width"]
"""Values in [0, 1]."""

SHIFT, GAIN, OFFSET, NOISE = 0.08, 0.3, 0.15, 0.05


def varied(pixels: Pixels, *, rng: torch.Generator, mix: float = 0.0) -> Pixels:
    """The images shifted, recolored, mixed with each other and made noisy, each as it comes.

    Args:
        pixels: in [0, 1].
        rng: on their device.
        mix: the share of images that are mixed with another one, in [0, 1]. Of images of one class and others a mixture
            belongs to neither.

    Returns:
        Pixels in [0, 1].
    """
    n, _, height, width = pixels.shape

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=rng, device=rng.device) - 1

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, device=rng.device)

    # One shift for all: what matters is that two copies differ.
    shift = [round(SHIFT * side * uniform(1).item()) for side in (height, width)]
    pixels = pixels.roll(shift, dims=(-2, -1))
    own = uniform(n, 1, 1, 1).abs()
    own = torch.where(uniform(n, 1, 1, 1).abs() < mix, own, torch.ones_like(own))
    other = pixels[torch.randperm(n, generator=rng, device=rng.device)]
    pixels = own * pixels + (1 - own) * other
    pixels = (pixels - 0.5) * (1 + GAIN * uniform(n, 3, 1, 1)) + 0.5 + OFFSET * normal(n, 3, 1, 1)
    grain = NOISE * uniform(n, 1, 1, 1).abs() * normal(*pixels.shape)
    varied_pixels: Tensor = (pixels + grain).clamp(0, 1)
    return varied_pixels
