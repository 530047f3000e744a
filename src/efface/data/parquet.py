"""Images in parquet files, as the ``datasets`` library writes them. Slow to import, because that library is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import datasets
import torch

from efface.data.files import sha256_of
from efface.data.images import Captioned, Encoded, Stored
from efface.errors import InputError

LABEL_NAMES = ("label", "labels", "fine_label")
"""Label columns by name, where the types alone do not tell."""
TEXT_NAMES = ("caption", "text", "captions")
"""Columns of captions."""


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """The image column of parquet files; the rows stay in a memory-mapped file.

    Attributes:
        table: with the images undecoded.
        column: the image column.
        folder: what a relative path in a row starts from.
        source: as the user gave it.
    """

    table: datasets.Dataset
    column: str
    folder: Path
    source: str

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Encoded:
        cell = self.table[row][self.column] or {}
        content, path = cell.get("bytes"), cell.get("path")
        if content is None and path is not None:
            content = self.folder / path
        stored_as = f" ({path!r})" if path else ""
        return Encoded(f"row {row}{stored_as} of {self.source!r}", content)


def read_parquet(files: Sequence[Path], *, source: str) -> Stored:
    """The images and labels of parquet files with the same columns, one file after the other.

    The first reading writes an Arrow copy to the cache of ``datasets``, which is then memory-mapped. A row is -1 in
    the labels where it has none. There are no class names where the label column is of plain integers.

    Args:
        files: at least one.
        source: as the user gave it, for errors to say.

    Raises:
        InputError: If a file cannot be read, the files differ in their columns, or it is not plain which column holds
            the images or the labels.
    """
    shards, digests = _load_all(files, source)
    features = shards[0].features
    image = _only("image", _image_columns(features), features, source)
    label = _only("label", _label_columns(features), features, source)
    table = _undecoded(datasets.concatenate_datasets(shards).select_columns([image, label]), image)
    labels = [-1 if value is None else value for value in table.data.column(label).to_pylist()]
    is_named = isinstance(features[label], datasets.ClassLabel)
    return Stored(
        rows=ParquetRows(table, image, files[0].parent, source),
        labels=torch.tensor(labels),
        class_names=tuple(features[label].names) if is_named else None,
        digests=digests,
    )


def read_captions(files: Sequence[Path], *, source: str) -> Captioned | None:
    """The images and captions of parquet files with the same columns; None where they have no column of captions.

    Such a column is called one of :data:`TEXT_NAMES`, and holds texts or lists of texts.

    Args:
        files: at least one.
        source: as the user gave it, for errors to say.

    Raises:
        InputError: As :func:`read_parquet`.
    """
    shards, digests = _load_all(files, source)
    features = shards[0].features
    found = [name for name in TEXT_NAMES if name in features]
    if not found:
        return None
    text = _only("caption", found, features, source)
    image = _only("image", _image_columns(features), features, source)
    table = _undecoded(datasets.concatenate_datasets(shards).select_columns([image, text]), image)
    cells = table.data.column(text).to_pylist()
    captions = tuple(tuple(cell) if isinstance(cell, list) else (cell,) for cell in cells)
    return Captioned(ParquetRows(table, image, files[0].parent, source), captions, digests)


def _load_all(files: Sequence[Path], source: str) -> tuple[list[datasets.Dataset], dict[str, str]]:
    """The shards and the digests of their files, after making sure that they have the same columns."""
    digests = {file.name: sha256_of(file) for file in files}
    shards = [_load(file, digests[file.name]) for file in files]
    for file, shard in zip(files, shards, strict=True):
        # datasets would join files whose class names stand in another order, and so give wrong labels.
        if shard.features != shards[0].features:
            raise InputError(
                f"{file.name!r} in {source!r} has other columns or class names than {files[0].name!r}",
                hint="give the shards of one split of one data set",
            )
    return shards, digests


def _undecoded(table: datasets.Dataset, image: str) -> datasets.Dataset:
    is_image = isinstance(table.features[image], datasets.Image)
    return table.cast_column(image, datasets.Image(decode=False)) if is_image else table


def _load(file: Path, sha256: str) -> datasets.Dataset:
    with file.open("rb") as opened:
        if opened.read(4) != b"PAR1":
            raise InputError(
                f"{str(file)!r} is no parquet file",
                hint="give a parquet file, a folder of parquet shards, or a folder with one folder of images a class",
            )
    try:
        with _quiet():
            # Not load_dataset, which sends a request to count its use, for local files too. The digest is part of the
            # cache's key, so that a file that was replaced under its old time is read anew.
            return datasets.Dataset.from_parquet([escape(str(file.absolute()))], config_name=f"sha256-{sha256[:32]}")
    except (ValueError, OSError, datasets.exceptions.DatasetGenerationError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise InputError(
            f"{str(file)!r} cannot be read: {reason}",
            hint="copy or write it again; it must hold at least one row, and '::' cannot be part of its path",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps ``datasets`` from showing progress bars and from logging errors that are raised anyway."""
    verbosity = datasets.logging.get_verbosity()
    # False: the user's environment asks for bars; datasets warns when they are then switched off.
    has_bars = not datasets.are_progress_bars_disabled() and datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    if has_bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if has_bars:
            datasets.enable_progress_bars()


def _image_columns(features: datasets.Features) -> list[str]:
    return [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.Image) or (isinstance(feature, dict) and "bytes" in feature)
    ]


def _label_columns(features: datasets.Features) -> list[str]:
    named = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(named) == 1:
        return named
    # Several, as CIFAR-100 has them, or none, as without the metadata of datasets: the column's name decides.
    integers = [name for name, feature in features.items() if "int" in str(getattr(feature, "dtype", ""))]
    return [name for name in named or integers if name in LABEL_NAMES] or named


def _only(kind: str, found: list[str], features: datasets.Features, source: str) -> str:
    if len(found) == 1:
        return found[0]
    columns = ", ".join(f"{name} ({_type_name(feature)})" for name, feature in features.items())
    many = f"{len(found)} {kind} columns, {' and '.join(map(repr, found))}" if found else f"no {kind} column"
    wanted = {
        "image": "there must be one column of type Image, or of structs with 'bytes' and 'path'",
        "caption": f"there must be one column called {' or '.join(TEXT_NAMES)}",
        "label": f"there must be one column of type ClassLabel, or an integer one called {' or '.join(LABEL_NAMES)}",
    }
    raise InputError(f"{source!r} has {many}; its columns are {columns}", hint=wanted[kind])


def _type_name(feature: object) -> str:
    if isinstance(feature, dict):
        return f"struct of {', '.join(feature)}"
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__
