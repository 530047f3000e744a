"""From the bytes of an image file to upright RGB pixels."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from efface.errors import InputError

# What Pillow's decoders raise at broken files; the later ones at fields that hold another type or number than they may.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError),
    *(RuntimeError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError),
)
# For EPS and WMF Pillow starts another program or asks the system; an IPTC file may hold any of them; the others are
# video, or data that only a plug-in could draw.
NOT_RASTER = frozenset({"EPS", "WMF", "IPTC", "MPEG", "BUFR", "GRIB", "HDF5"})
_SIXTEEN_BITS = ("PNG", "PPM")
"""Formats whose images of mode I hold 16 bits, which Pillow scales to the whole range."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image that is not decoded yet.

    Attributes:
        name: where it stands in which source, for an error to say.
        content: the bytes of an image file, its path, or the pixels where the source stores plain ones; None where
            the source holds nothing.
    """

    name: str
    content: bytes | Path | Image.Image | None


def formats() -> tuple[str, ...]:
    """The formats of raster images that Pillow opens by itself, by its names, in the order in which they are tried."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_RASTER)


def endings() -> frozenset[str]:
    """The endings of files of these formats, in lower case, with their point."""
    # MPO is several JPEGs in a file, and opens as the first of them.
    readable = {*formats(), "MPO"}
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in readable)


def decode(encoded: Encoded) -> Image.Image:
    """An image in RGB, turned upright as its EXIF data says; the first frame of an animation.

    A conversion before any resizing is what torchvision's ImageFolder does, and so most published zero-shot figures.
    An image is either decoded or refused: what Pillow only warns of, such as many pixels, is not said.

    Raises:
        InputError: If it cannot be decoded.
    """
    if encoded.content is None:
        raise _unreadable(encoded, "there are neither bytes nor a path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decoded(encoded, encoded.content)


def _decoded(encoded: Encoded, content: bytes | Path | Image.Image) -> Image.Image:
    try:
        if isinstance(content, Image.Image):
            return _to_rgb(content, has_16_bits=_has_16_bits(content))
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=formats()) as image:
            image.load()
            return _to_rgb(_upright(image), has_16_bits=_has_16_bits(image))
    except UnidentifiedImageError:
        # Pillow's own text holds the address of a buffer.
        raise _unreadable(encoded, "its bytes are no image format that Pillow reads by itself") from None
    except UNREADABLE as error:
        raise _unreadable(encoded, str(error) or type(error).__name__) from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except UNREADABLE:
        # The pixels are there: broken EXIF data say nothing of how to turn them.
        return image


def _has_16_bits(image: Image.Image) -> bool:
    """Whether the pixels of an opened image reach to 65535; no answer where any would make another image of it.

    Raises:
        ValueError: If nothing says which value is white.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, and nothing says which is white")
    if image.mode != "I" or image.format in _SIXTEEN_BITS:
        return image.mode == "I" or image.mode.startswith("I;16")
    low, high = (int(value) for value in image.getextrema())  # type: ignore[arg-type]
    if low < 0 or high > 255:
        raise ValueError(f"its pixels are integers from {low} to {high} in 32 bits, and nothing says which is white")
    return False


def _to_rgb(image: Image.Image, *, has_16_bits: bool) -> Image.Image:
    if has_16_bits:
        # Pillow would clip them at 255, which leaves a white image.
        image = image.convert("I").point(lambda value: value * (1 / 257))
    if image.mode == "I":
        image = image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns at the direct way.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _unreadable(encoded: Encoded, reason: str) -> InputError:
    return InputError(
        f"{encoded.name} cannot be decoded: {reason}",
        hint="open it in an image viewer, then replace it or take it out of the data; "
        "to measure without it, --on-bad-image skip",
    )
