"""Many images on one."""

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

GAP = 2
"""Pixels between two images, and around all of them."""
COLUMNS = "efface.columns"
"""Where a sheet says, in ``Image.info``, how many images stand side by side."""
_BACKGROUND = (128, 128, 128)


def contact_sheet(pixels: Float[Tensor, "n 3 height width"], *, cell: int | None = None) -> Image.Image:
    """Images row by row on a near-square grid, with thin gaps.

    Args:
        pixels: in [0, 1]; what lies outside is clipped.
        cell: the longer side of an image on the sheet is at most that many pixels; None: as they come.

    Raises:
        ValueError: If there is no image, a pixel is not finite, or ``cell`` is less than 1.
    """
    if not len(pixels):
        raise ValueError("pixels has no image, at least one is needed")
    if not pixels.isfinite().all():
        raise ValueError("pixels has values that are not finite")
    tiles = [_sized(Image.fromarray(array), cell) for array in _bytes(pixels)]
    width, height = tiles[0].size
    columns = min(len(tiles), math.ceil(math.sqrt(len(tiles) * height / width)))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (GAP + columns * (width + GAP), GAP + rows * (height + GAP)), _BACKGROUND)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        sheet.paste(tile, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    sheet.info[COLUMNS] = columns
    return sheet


def _bytes(pixels: Float[Tensor, "n 3 height width"]) -> UInt8[np.ndarray, "n height width 3"]:
    array: UInt8[np.ndarray, "n height width 3"] = (
        (pixels.detach().float().clamp(0, 1) * 255)
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .cpu()
        .numpy()
    )
    return array


def _sized(tile: Image.Image, cell: int | None) -> Image.Image:
    if cell is None:
        return tile
    if cell < 1:
        raise ValueError(f"cell is {cell}, it must be at least 1")
    scale = cell / max(tile.size)
    if scale >= 1:
        return tile
    size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
    return tile.resize(size, Image.Resampling.LANCZOS)
