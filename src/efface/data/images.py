"""Labelled images on disk that are decoded as they are handed out."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from efface.errors import InputError
from efface.types import Images, Labels, row_order

Pixels = Float[Tensor, "3 height width"]
"""One image as the model takes it."""
Preprocess = Callable[[Image.Image], Pixels]
"""What makes model input of an upright RGB image."""
Rows = Int[Tensor, " batch"]
"""Which images of a source, by their place in it."""

# What Pillow's decoders raise at broken files.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image that is not decoded yet.

    Attributes:
        name: where it stands in which source, for an error to say.
        content: the bytes of an image file, or its path; None where the source holds neither.
    """

    name: str
    content: bytes | Path | None


@runtime_checkable
class EncodedImages(Protocol):
    """Images on disk, by row. Must survive pickling, as worker processes get a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """What the reader of a format found.

    Attributes:
        rows: the images.
        labels: one a row, from 0; -1 where a row has none.
        class_names: in label order; None where the format has none.
        digests: the SHA-256 of each file, by its path below the source's folder.
    """

    rows: EncodedImages
    labels: Labels
    class_names: tuple[str, ...] | None
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Captioned:
    """What the reader of a format with captions found.

    Attributes:
        rows: the images.
        captions: the captions of each image, as the source has them.
        digests: the SHA-256 of each file, by its path below the source's folder.
    """

    rows: EncodedImages
    captions: tuple[tuple[str | None, ...], ...]
    digests: Mapping[str, str]


def decode(encoded: Encoded) -> Image.Image:
    """An image in RGB, turned upright as its EXIF data says; the first frame of an animation.

    A conversion before any resizing is what torchvision's ImageFolder does, and so most published zero-shot figures.

    Raises:
        InputError: If it cannot be decoded.
    """
    if encoded.content is None:
        raise _unreadable(encoded, "there are neither bytes nor a path")
    stored = encoded.content if isinstance(encoded.content, Path) else io.BytesIO(encoded.content)
    try:
        with Image.open(stored) as image:
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        # Pillow's own text holds the address of a buffer.
        raise _unreadable(encoded, "its bytes are no image format that Pillow knows") from None
    except UNREADABLE as error:
        raise _unreadable(encoded, str(error)) from None


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


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Labelled images that stay on disk until their batch comes.

    Attributes:
        rows: where the images are.
        labels: one a row.
        preprocess: from an upright RGB image to model input.
        workers: processes that decode; 0 decodes in this one. Each holds at most two batches ready.
    """

    rows: EncodedImages
    labels: Labels
    preprocess: Preprocess
    workers: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, *, rng: torch.Generator | None = None) -> Iterator[tuple[Images, Labels]]:
        """Every image once, ``size`` at a time: shuffled by ``rng``, in stored order without one.

        Raises:
            InputError: If an image of the batch cannot be decoded.
        """
        # Drawn here and not in a worker, so that the order is the same for any number of workers.
        yield from self.in_order(row_order(len(self), rng), size)

    def in_order(self, rows: Rows, size: int) -> Iterator[tuple[Images, Labels]]:
        """The images of these rows in this order, ``size`` at a time; a row may come more than once.

        Raises:
            InputError: If an image of the batch cannot be decoded.
        """
        loader = DataLoader(
            _Decoded(self.rows, self.labels, self.preprocess),
            batch_sampler=[rows[first : first + size].tolist() for first in range(0, len(rows), size)],
            num_workers=self.workers,
            collate_fn=_collate,
            # A loader draws a seed for its workers: not from torch's global generator, which is the caller's.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, _Failure):
                raise InputError(batch.message, hint=batch.hint)
            yield batch


@dataclass(frozen=True, slots=True)
class _Failure:
    """An InputError on its way out of a worker: torch re-raises exceptions with one argument, which loses the hint."""

    message: str
    hint: str


class _Decoded(Dataset[tuple[Pixels, int] | _Failure]):
    def __init__(self, rows: EncodedImages, labels: Labels, preprocess: Preprocess) -> None:
        self._rows = rows
        self._labels = labels
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Pixels, int] | _Failure:
        try:
            image = decode(self._rows[row])
        except InputError as error:
            return _Failure(str(error), error.hint)
        return self._preprocess(image), int(self._labels[row])


def _collate(items: list[tuple[Pixels, int] | _Failure]) -> tuple[Images, Labels] | _Failure:
    images, labels = [], []
    for item in items:
        if isinstance(item, _Failure):
            return item
        images.append(item[0])
        labels.append(item[1])
    return torch.stack(images), torch.tensor(labels)
