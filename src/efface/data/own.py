"""The user's own images of what is to be forgotten, which a method works on; and that none of them judges it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from efface.beside import Beside
from efface.data.decoding import Encoded
from efface.data.files import sha256_of, sha256_of_all
from efface.data.formats import parse
from efface.data.formats.folders import ImageFiles, loose_images
from efface.data.holdout import EvalData
from efface.data.images import BadImages, Preprocess, StoredImages
from efface.data.kinds import check_has, of_kind
from efface.data.sources import ANY, open_source
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
    plain = _plain_folder(source, names[0], preprocess, workers, skipped) if len(names) == 1 else None
    if plain is not None:
        return plain
    found = of_kind(open_source(source, preprocess=preprocess, workers=workers, skipped=skipped), where or {})
    for name in names:
        check_has(found, name)
    return found


def open_pool(source: str, *, preprocess: Preprocess, workers: int = 0, skipped: BadImages | None = None) -> EvalData:
    """Any images, whose labels are not looked at: a source of held-out images, or a plain folder of image files.

    Args:
        source: as the user gave it.
        preprocess: from an upright RGB image to model input.
        workers: processes that decode images; 0 decodes in this one.
        skipped: told of images that cannot be decoded, which are then left out; None stops at the first.

    Raises:
        InputError: If there is no such data.
    """
    plain = _plain_folder(source, ANY[0], preprocess, workers, skipped)
    return plain or open_source(source, preprocess=preprocess, workers=workers, skipped=skipped, labelled=False)


def _plain_folder(
    source: str, name: str, preprocess: Preprocess, workers: int, skipped: BadImages | None
) -> EvalData | None:
    """The image files of a folder as images of one class; None where it is no folder of such."""
    given = parse(source)
    files = loose_images(given.path) if not given.prefix and given.path.is_dir() else ()
    if not files:
        return None
    rows = ImageFiles(given.path, files)
    images = StoredImages(rows, torch.zeros(len(files), dtype=torch.int64), preprocess, workers, skipped)
    digest = sha256_of_all({file: sha256_of(given.path / file) for file in files})
    return EvalData(source, images, (name,), digest, skipped=skipped or BadImages())


def check_beside_of_use(beside: Beside, method: str, needs: Needs) -> None:
    """Refuses images for a purpose that a method does not have, and groups of classes that it has no use for.

    Args:
        beside: what is given.
        method: its name.
        needs: what it asks for.

    Raises:
        InputError: If it is so.
    """
    asks = {
        "retain": needs.retain_images,
        "calibration": needs.calibration_images,
        "pool": needs.retain_images,
    }
    if beside.hierarchy and not (needs.retain_images or needs.guard_images):
        raise InputError(
            f"{method} asks for no images of siblings: a hierarchy would change nothing",
            hint="leave --hierarchy out, or choose a method that asks for such images, such as lip or subgroup",
        )
    for what, source in beside.sources.items():
        if not asks[what]:
            raise InputError(
                f"{method} asks for no such images: those in {source!r} would change nothing",
                hint=f"leave --{what}-images out, or choose a method that asks for them, such as subgroup",
            )


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


def batches_of(own: EvalData, rows: Tensor) -> Iterator[Images]:
    """Some of the images in this order, a few at a time, without those that cannot be decoded and are skipped.

    Raises:
        InputError: If one cannot be decoded and is not to be skipped.
    """
    images = own.images
    if isinstance(images, StoredImages | SymbolImages):
        yield from (batch for batch, _ in images.in_order(rows, BATCH))
    else:
        yield torch.cat([batch for batch, _ in images.batches(BATCH)])[rows]


def decoded(own: EvalData, rows: Tensor) -> Bool[Tensor, " rows"]:
    """Which of the rows, all of which were asked for, could be decoded."""
    return torch.tensor([row not in own.skipped.reasons for row in rows.tolist()], dtype=torch.bool)


def taken(own: EvalData, rows: Tensor) -> tuple[Images, Bool[Tensor, " rows"]]:
    """Some of the images in this order, and which of the rows could be decoded.

    Raises:
        InputError: If one cannot be decoded and is not to be skipped, or none can.
    """
    found = list(batches_of(own, rows))
    kept = decoded(own, rows)
    if not found:
        raise InputError(f"no image of {own.source!r} can be decoded", hint="look at one of them in an image viewer")
    return torch.cat(found), kept


def check_apart(
    own: EvalData,
    held_out: Sequence[EvalData],
    names: Collection[str] = (),
    rows: Tensor | None = None,
    *,
    copies: bool = True,
) -> None:
    """Refuses held-out images that are among the user's own of the classes, byte for byte: they would judge nothing.

    It counts what an image is, not how its source is called, what it was chosen by, or of which class it is there.

    Args:
        own: images that a method is handed some of.
        held_out: what judges it.
        names: the classes of which it may be.
        rows: the places of those that it is handed, in place of all of the classes.
        copies: whether a copy of a held-out file is refused; else a source that holds them all, and what is of the
            embedded world, alone: near duplicates are left out by their looks, and these are told otherwise.

    Raises:
        InputError: It counts them, and names one.
    """
    if rows is None:
        rows = torch.cat([rows_of(own, name) for name in names])
    lengths = {_length(encoded) for encoded in _stored(own, rows)} if copies else set()
    mine = dict(_marks(own, rows, lengths))
    for source in held_out:
        if (source.sha256, dict(source.where)) == (own.sha256, dict(own.where)):
            raise InputError(f"{own.source!r} holds the images that judge the result", hint="give others to work on")
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
