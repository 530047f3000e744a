"""Many images on one, and one of them again."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from efface.errors import InputError

GAP = 2
"""Pixels between two images, and around all of them."""
COLUMNS = "efface.columns"
"""Where a sheet says, in ``Image.info`` and in its file, how many images stand side by side."""
_DAMAGED = "efface verify says which files are not those of the record"
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
    return _laid_out(tiles, columns)


def picture_sheet(pictures: Sequence[Float[Tensor, "3 _ _"]]) -> Image.Image:
    """Pictures of any sizes, eight side by side, each in the middle of a square cell that the largest fits into.

    Args:
        pictures: pixels in [0, 1]; at least one.
    """
    tiles = [Image.fromarray(_bytes(picture[None])[0]) for picture in pictures]
    side = max(max(tile.size) for tile in tiles)
    squares = []
    for tile in tiles:
        square = Image.new("RGB", (side, side), _BACKGROUND)
        square.paste(tile, ((side - tile.width) // 2, (side - tile.height) // 2))
        squares.append(square)
    return _laid_out(squares, min(len(squares), 8))


def cut(sheet: Image.Image, index: int) -> Image.Image:
    """One picture of a sheet of square cells, by its place from 0.

    Raises:
        InputError: If the sheet ends before it, or does not say how many stand side by side.
    """
    columns = columns_of(sheet)
    step = (sheet.width - GAP) // columns
    row, column = divmod(index, columns)
    left, top = GAP + column * step, GAP + row * step
    if index < 0 or step <= GAP or top + step > sheet.height:
        raise InputError(f"a sheet of pictures has no picture {index}: it is not that of the record", hint=_DAMAGED)
    return sheet.crop((left, top, left + step - GAP, top + step - GAP))


def columns_of(sheet: Image.Image) -> int:
    """How many images of a sheet stand side by side.

    Raises:
        InputError: If what the sheet says of that is no number above 0.
    """
    said = str(sheet.info.get(COLUMNS, 8))
    if not said.isdecimal() or int(said) < 1:
        raise InputError(f"a sheet of pictures says that it has {said!r} columns", hint=_DAMAGED)
    return int(said)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Writes a sheet as PNG, with the number of its columns."""
    noted = PngInfo()
    noted.add_text(COLUMNS, str(sheet.info[COLUMNS]))
    sheet.save(path, pnginfo=noted)


def read_sheet(path: Path) -> Image.Image | None:
    """The sheet in a file; None where there is none.

    Raises:
        InputError: If the file is no picture.
    """
    if not path.is_file():
        return None
    try:
        with Image.open(path) as sheet:
            sheet.load()
            return sheet
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no sheet of pictures: {error}", hint=_DAMAGED) from None


def _laid_out(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    width, height = tiles[0].size
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
