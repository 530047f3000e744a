"""Tiny gray pictures on disk, and what was read of them."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from efface.data.decoding import decode
from efface.data.formats import parse
from efface.data.images import EncodedImages, Pixels, Stored


def png(gray: int, size: tuple[int, int] = (2, 2)) -> bytes:
    """A picture of one gray value."""
    file = io.BytesIO()
    Image.new("L", size, gray).save(file, "PNG")
    return file.getvalue()


def file_of(image: Image.Image, kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    """The bytes of a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **({} if exif is None else {"exif": exif}))
    return file.getvalue()


def write(path: Path, gray: int) -> Path:
    """A picture at this place, in the format that its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (gray,) * 3).save(path)
    return path


def as_tensor(image: Image.Image) -> Pixels:
    """Pixels in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def grays(rows: EncodedImages) -> list[int]:
    """The gray value of each picture."""
    return [decode(rows[row]).tobytes()[0] for row in range(len(rows))]


def said(stored: Stored) -> list[tuple[int, str]]:
    """The gray value and the class name of each picture."""
    assert stored.class_names is not None
    names = [stored.class_names[label] for label in stored.labels.tolist()]
    return list(zip(grays(stored.rows), names, strict=True))


def read(source: str) -> Stored:
    """What the reader of a source's format finds."""
    import pkgutil

    from efface.data.formats import FORMATS

    given = parse(source)
    found = pkgutil.resolve_name(FORMATS[given.prefix].reader)(given)
    assert isinstance(found, Stored)
    return found
