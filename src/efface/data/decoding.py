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
    if isinstance(content, Image.Image):
        return _to_rgb(content)
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            image.load()
            return _to_rgb(_upright(image))
    except UnidentifiedImageError:
        # Pillow's own text holds the address of a buffer.
        raise _unreadable(encoded, "its bytes are no image format that Pillow knows") from None
    except UNREADABLE as error:
        raise _unreadable(encoded, str(error) or type(error).__name__) from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except UNREADABLE:
        # The pixels are there: broken EXIF data say nothing of how to turn them.
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow would clip 16 bits at 255, which leaves a white image.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns at the direct way.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _unreadable(encoded: Encoded, reason: str) -> InputError:
    return InputError(
        f"{encoded.name} cannot be decoded: {reason}",
        hint="open it in an image viewer; then replace it or take it out of the data",
    )
