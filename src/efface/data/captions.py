"""Images with captions, for training: from what the user says they are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from efface.data.files import must_hold, parquet_shards, read_table, sha256_of, sha256_of_all
from efface.data.formats import CAPTIONED, check_options, parse
from efface.data.formats.folders import ImageFiles
from efface.data.images import Captioned, Preprocess, Rows, StoredImages
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.data.symbols import PREFIX as SYMBOLS
from efface.data.symbols import open_captioned_symbols
from efface.errors import InputError
from efface.request import TEMPLATES, position
from efface.types import Images, PixelSpace

TABLES = ("metadata.csv", "captions.csv")
"""The file in a folder of images that holds their captions; a row an image, or a row a caption."""
FILE_COLUMN = "file_name"
TEXT_COLUMNS = ("caption", "text", "captions")


@runtime_checkable
class CaptionedImages(Protocol):
    """Images with captions, handed out by row."""

    @property
    def source(self) -> str:
        """As the user gave it."""
        ...

    @property
    def sha256(self) -> str:
        """Of all that images and captions depend on."""
        ...

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """One or more lists of captions, each with one caption an image.

        A batch takes all its captions from one level, so equal texts in a level must mean images that belong together.
        """
        ...

    def __len__(self) -> int: ...

    def in_order(self, rows: Rows, size: int) -> Iterator[Images]:
        """The images of these rows in this order, ``size`` at a time; a row may come more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """How images and captions are wanted.

    Attributes:
        pixels: how the model reads pixels.
        preprocess: from an upright RGB image to model input.
        templates: what class names are put into where a source has labels instead of captions.
        without: what to leave out, kind by kind; ``classes`` are class names, and a source may know more kinds.
        workers: processes that decode images; 0 decodes in this one.
    """

    pixels: PixelSpace
    preprocess: Preprocess
    templates: tuple[str, ...] = TEMPLATES
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workers: int = 0


@dataclass(frozen=True, slots=True)
class StoredCaptions:
    """Captioned images on disk.

    Attributes:
        source: as the user gave it.
        sha256: of the files' bytes.
        images: all images of the source.
        kept: the rows of ``images`` that are used.
        levels: captions of the kept rows.
    """

    source: str
    sha256: str
    images: StoredImages
    kept: Rows
    levels: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.kept)

    def in_order(self, rows: Rows, size: int) -> Iterator[Images]:
        """The images of these rows in this order, ``size`` at a time; a row may come more than once.

        Raises:
            InputError: If an image of the batch cannot be decoded.
        """
        for images, _ in self.images.in_order(self.kept[rows], size):
            yield images


Opener = Callable[[str, Asked], CaptionedImages]
OPENERS: dict[str, Opener] = {
    SYMBOLS: lambda source, asked: open_captioned_symbols(source, asked.pixels, asked.without),
}
"""Sources that are not paths, by what they start with, colon included."""


def open_captioned(source: str, asked: Asked) -> CaptionedImages:
    """The captioned images that a text names.

    A prefix in :data:`OPENERS` decides; else a path may lead to parquet files with a column ``caption``, ``text`` or
    ``captions``, or to a folder with a table of captions. Anything else are labelled images, whose captions are the
    templates with the class name in them, a level each. Several captions of one image make several levels; an image
    with fewer than others has them again.

    Args:
        source: as the user gave it.
        asked: how images and captions are wanted.

    Raises:
        InputError: If there is no such data, or it cannot be used as asked.
    """
    prefix, colon, _ = source.partition(":")
    if colon and prefix + colon in OPENERS:
        return OPENERS[prefix + colon](source, asked)
    given = parse(source, hint=CAPTIONED)
    found = None if given.prefix else _captioned(given.path, source)
    if found is None:
        return _labelled(source, asked)
    check_options(given, (), found="images with captions")
    return _stored(source, found, asked)


def _captioned(path: Path, source: str) -> Captioned | None:
    """What the readers of captions find; None where images have labels at best."""
    table = next((path / name for name in TABLES if (path / name).is_file()), None)
    if table is not None:
        return read_captioned(table)
    files = [path] if path.is_file() else parquet_shards(path)
    if not files or files[0].suffix.lower() != ".parquet":
        return None
    # Here, because it imports datasets, which takes a second.
    from efface.data.formats.parquet import read_captions

    return read_captions(files, source=source)


def read_captioned(table: Path) -> Captioned:
    """The images that a CSV file names, below its folder, in the order of their first row.

    Raises:
        InputError: If it cannot be read as CSV in UTF-8, or a column is missing, or an image that is named.
    """
    captions = _captions(table)
    must_hold(table, captions, folder=table.parent)
    digests = {name: sha256_of(table.parent / name) for name in captions} | {table.name: sha256_of(table)}
    return Captioned(ImageFiles(table.parent, tuple(captions)), tuple(map(tuple, captions.values())), digests)


def _captions(table: Path) -> dict[str, list[str | None]]:
    """The captions of each file that a table names."""
    columns, rows = read_table(table)
    text = next((name for name in TEXT_COLUMNS if name in columns), None)
    if FILE_COLUMN not in columns or text is None:
        raise InputError(
            f"{str(table)!r} has the columns {', '.join(columns) or 'none'}",
            hint=f"it needs {FILE_COLUMN} and one called {' or '.join(TEXT_COLUMNS)}",
        )
    captions: dict[str, list[str | None]] = {}
    for row in rows:
        captions.setdefault(row[FILE_COLUMN], []).append(row[text])
    return captions


def _stored(source: str, found: Captioned, asked: Asked) -> StoredCaptions:
    _refuse_kinds(source, asked, known=())
    for row, captions in enumerate(found.captions):
        if not captions or any(caption is None or not caption.strip() for caption in captions):
            raise InputError(f"row {row} of {source!r} has an empty caption", hint="give every image a caption")
    images = StoredImages(
        found.rows, torch.zeros(len(found.captions), dtype=torch.int64), asked.preprocess, asked.workers
    )
    most = max((len(captions) for captions in found.captions), default=0)
    if not most:
        raise InputError(f"{source!r} holds no image", hint=CAPTIONED)
    levels = tuple(tuple(str(has[level % len(has)]).strip() for has in found.captions) for level in range(most))
    return StoredCaptions(source, sha256_of_all(found.digests), images, torch.arange(len(images)), levels)


def _labelled(source: str, asked: Asked) -> StoredCaptions:
    data = open_source(source, preprocess=asked.preprocess, workers=asked.workers)
    images = data.images
    if not isinstance(images, StoredImages):
        raise InputError(f"{source!r} cannot be handed out by row", hint=CAPTIONED)
    _refuse_kinds(source, asked, known=("classes",))
    out = torch.tensor([position(name, data.class_names) for name in asked.without.get("classes", ())])
    kept = torch.nonzero(~torch.isin(images.labels, out.long())).flatten()
    if not len(kept):
        raise InputError(f"nothing of {source!r} is left without {asked.without}", hint="leave fewer classes out")
    labels = images.labels[kept].tolist()
    of_class = [texts(asked.templates, name) for name in data.class_names]
    levels = tuple(tuple(of_class[label][place] for label in labels) for place in range(len(asked.templates)))
    return StoredCaptions(source, data.sha256, images, kept, levels)


def _refuse_kinds(source: str, asked: Asked, *, known: tuple[str, ...]) -> None:
    unknown = [kind for kind, names in asked.without.items() if names and kind not in known]
    if unknown:
        can = f"it can leave out {' and '.join(known)}" if known else "a source with captions has no names to leave out"
        raise InputError(f"{source!r} cannot leave out {', '.join(unknown)}", hint=can)
