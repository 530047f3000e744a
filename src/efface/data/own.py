"""The user's own images of what is to be forgotten, which a method works on; and that none of them judges it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from efface.data.decoding import Encoded
from efface.data.files import sha256_of, sha256_of_all
from efface.data.formats import parse
from efface.data.formats.folders import ImageFiles, loose_images
from efface.data.holdout import EvalData
from efface.data.images import BadImages, Preprocess, StoredImages
from efface.data.kinds import check_has, of_kind
from efface.data.sources import open_source
from efface.data.symbols import SymbolImages
from efface.errors import InputError, counted
from efface.types import Images, Needs

BATCH = 64
Length = int | tuple[int, int]
OF_GUARD = "synthesis.batch_size"
"""What of the synthesis a guard takes too, which is made beside the user's own images as well."""


def open_own(
    source: str,
    names: Sequence[str],
    *,
    preprocess: Preprocess,
    where: Mapping[str, str] | None = None,
    workers: int = 0,
    skipped: BadImages | None = None,
) -> EvalData:
    """The user's images of some classes: any source of held-out images, or for one class a plain folder of image files.

    Args:
        source: as the user gave it.
        names: of the classes.
        preprocess: from an upright RGB image to model input.
        where: of the classes only images that are so count, a value for some of the source's columns. All in a plain
            folder count, which has none.
        workers: processes that decode images; 0 decodes in this one.
        skipped: told of images that cannot be decoded, which are then left out; None stops at the first.

    Raises:
        InputError: If there is no such data, no such column, or no image of one of the classes in it that counts.
    """
    given = parse(source)
    files = loose_images(given.path) if not given.prefix and len(names) == 1 and given.path.is_dir() else ()
    if files:
        rows = ImageFiles(given.path, files)
        images = StoredImages(rows, torch.zeros(len(files), dtype=torch.int64), preprocess, workers, skipped)
        digest = sha256_of_all({file: sha256_of(given.path / file) for file in files})
        return EvalData(source, images, tuple(names), digest, skipped=skipped or BadImages())
    found = of_kind(open_source(source, preprocess=preprocess, workers=workers, skipped=skipped), where or {})
    for name in names:
        check_has(found, name)
    return found


def check_of_use(source: str, method: str, needs: Needs, changed: Sequence[str] = ()) -> None:
    """Refuses images for a method that asks for none, and settings of a synthesis that they take the place of.

    Args:
        source: as the user gave it.
        method: its name.
        needs: what it asks for.
        changed: names of the synthesis' settings that are asked for.

    Raises:
        InputError: If it is so.
    """
    if not needs.forget_images:
        raise InputError(
            f"{method} works on no images: those in {source!r} would change nothing",
            hint="leave --images out, or choose a method that asks for images: efface methods lists them",
        )
    useless = [name for name in changed if name != OF_GUARD or not needs.guard_images]
    if useless:
        raise InputError(
            f"with --images none of the class are made: {', '.join(useless)} would change nothing", hint="leave it out"
        )


def rows_of(own: EvalData, name: str) -> Tensor:
    """The places of the images of a class that the source knows, of the kind where only those of one kind count."""
    return own.to_forget([name]).nonzero()[:, 0]


def taken(own: EvalData, rows: Tensor) -> tuple[Images, Tensor]:
    """Some of the images in this order, and which of the rows could be decoded.

    Raises:
        InputError: If one cannot be decoded and is not to be skipped, or none can.
    """
    images = own.images
    if isinstance(images, StoredImages):
        found = [batch for batch, _ in images.in_order(rows, BATCH)]
    elif isinstance(images, SymbolImages):
        found = [batch for batch, _ in images.chosen(rows).batches(BATCH)]
    else:
        found = [torch.cat([batch for batch, _ in images.batches(BATCH)])[rows]]
    kept = torch.tensor([row not in own.skipped.reasons for row in rows.tolist()])
    if not found:
        raise InputError(f"no image of {own.source!r} can be decoded", hint="look at one of them in an image viewer")
    return torch.cat(found), kept


def check_apart(own: EvalData, held_out: Sequence[EvalData], names: Collection[str]) -> None:
    """Refuses held-out images that are among the user's own of the classes, byte for byte: they would judge nothing.

    It counts what an image is, not how its source is called, what it was chosen by, or of which class it is there.

    Raises:
        InputError: It counts them, and names one.
    """
    rows = torch.cat([rows_of(own, name) for name in names])
    lengths = {_length(encoded) for encoded in _stored(own, rows)}
    mine = dict(_marks(own, rows, lengths))
    for source in held_out:
        if (source.sha256, dict(source.where)) == (own.sha256, dict(own.where)):
            raise InputError(f"{own.source!r} holds the images that judge the result", hint="give others with --images")
        everything = torch.arange(len(source.images))
        same = [(mine[mark], name) for mark, name in _marks(source, everything, lengths) if mark in mine]
        if same:
            raise InputError(
                f"{counted(len(same), 'image')} of {source.source!r} to be judged on stand in {own.source!r} too, byte "
                f"for byte: {same[0][0]} is {same[0][1]}",
                hint="take them out of one of the two: what a method has seen cannot judge it",
            )


def _marks(source: EvalData, rows: Tensor, lengths: Collection[Length | None]) -> Iterator[tuple[str, str]]:
    """Of each image what stands for its content, and what it is called; of those on disk only those as long as one."""
    for encoded in _stored(source, rows):
        # To read all of a large source would take minutes; an image of another length is another one.
        length = _length(encoded)
        if length is not None and length in lengths:
            yield _mark(encoded), encoded.name
    if isinstance(source.images, SymbolImages):
        # What is on an image decides every pixel of it: nothing need be drawn.
        scenes = source.images.scenes.take(rows.numpy())
        numbers = np.column_stack([getattr(scenes, field.name) for field in fields(scenes)])
        for row, scene in zip(rows.tolist(), numbers, strict=True):
            yield f"scene {scene.tolist()}", f"image {row} of {source.source}"


def _stored(source: EvalData, rows: Tensor) -> Iterator[Encoded]:
    if isinstance(source.images, StoredImages):
        yield from (source.images.rows[row] for row in rows.tolist())


def _length(encoded: Encoded) -> Length | None:
    """Bytes, or width and height of plain pixels; None where there is no image."""
    content = encoded.content
    if isinstance(content, Image.Image):
        return content.size
    if isinstance(content, Path):
        return content.stat().st_size if content.is_file() else None
    return None if content is None else len(content)


def _mark(encoded: Encoded) -> str:
    content = encoded.content
    if isinstance(content, Path):
        return sha256_of(content)
    if isinstance(content, Image.Image):
        return f"{content.mode} {content.size} {hashlib.sha256(content.tobytes()).hexdigest()}"
    return hashlib.sha256(content or b"").hexdigest()
