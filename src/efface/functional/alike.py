"""Whether two images are the same picture but for size, compression or brightness.

The lowest frequencies of a picture's discrete cosine transform say what is bright where, whatever its resolution; their
signs are its hash. Of unrelated pictures half of the signs agree, of a picture and its compressed copy nearly all. What
has few shapes may agree by chance: thumbnails tell by their colors.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8
from torch import Tensor

SIDE = 32
"""Pixels a side of the gray picture that is transformed."""
LOW = 8
"""Frequencies an axis that count."""
SIGNS = LOW**2 - 1
"""Signs of a hash: all of these frequencies but the mean."""
LEVEL = 1 / 255
"""A picture whose gray levels deviate by less than this from their mean shows nothing that could be told again."""
LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue add to a gray level (ITU-R BT.601)."""
CELLS = 2**24
"""Pairs that are compared at a time, 64 MB of memory."""

THUMBNAIL = 16
"""Cells a side of a thumbnail."""

Pixels = Float[Tensor, "pictures 3 height width"]
Hashes = Int8[Tensor, "pictures signs"]
"""A row a picture, -1 or 1; all 0 where the picture shows nothing."""


def hashes(pixels: Pixels) -> Hashes:
    """The perceptual hash of each picture.

    Args:
        pixels: in [0, 1]; a factor or an addend common to all channels changes no sign.
    """
    gray = torch.einsum("pchw,c->phw", pixels.float(), pixels.new_tensor(LUMA, dtype=torch.float32))
    small = F.adaptive_avg_pool2d(gray, SIDE)
    basis = _cosines(small.device)
    low = (basis @ small @ basis.T).flatten(1)[:, 1:]
    shows = small.std(dim=(1, 2), correction=0) >= LEVEL
    return torch.where(low > 0, 1, -1).to(torch.int8) * shows[:, None].to(torch.int8)


def close_pairs(first: Hashes, second: Int8[Tensor, "others signs"], most: int) -> Int[Tensor, "pairs 2"]:
    """The rows of all pairs whose hashes differ in at most ``most`` signs, in the order of the first.

    A picture that shows nothing is near none.

    Args:
        first: n hashes.
        second: m hashes.
        most: from 0 (equal hashes) to below half of the signs (where unrelated pictures are).
    """
    # The product of two rows of signs is what agrees less what differs.
    least, columns = SIGNS - 2 * most, second.T.float()
    rows = max(1, CELLS // max(1, len(second)))
    found = []
    for start in range(0, len(first), rows):
        near = (first[start : start + rows].float() @ columns >= least).nonzero()
        found.append(near + near.new_tensor([start, 0]))
    return torch.cat(found) if found else torch.zeros((0, 2), dtype=torch.int64)


def thumbnails(pixels: Pixels) -> Float[Tensor, "pictures cells"]:
    """Each picture as a few colored cells less their mean, scaled to unit length: a product is a correlation.

    A picture of one color has none; its product with any is 0.
    """
    cells = F.adaptive_avg_pool2d(pixels.float(), THUMBNAIL).flatten(1)
    return F.normalize(cells - cells.mean(dim=1, keepdim=True), dim=1, eps=LEVEL)


def blurred(pixels: Pixels) -> Pixels:
    """Each picture at half of its resolution, brought back to its size; of a single pixel a side itself."""
    height, width = pixels.shape[-2:]
    half = F.adaptive_avg_pool2d(pixels, (max(1, height // 2), max(1, width // 2)))
    return F.interpolate(half, size=(height, width), mode="bilinear")


def _cosines(device: torch.device) -> Float[Tensor, "low side"]:
    """The lowest rows of the orthonormal discrete cosine transform (DCT-II)."""
    place, frequency = torch.arange(SIDE, device=device), torch.arange(LOW, device=device)
    waves = torch.cos(math.pi / SIDE * (place + 0.5) * frequency[:, None])
    return waves * torch.where(frequency == 0, math.sqrt(1 / SIDE), math.sqrt(2 / SIDE))[:, None]
