"""Images and labels in tables of the ``datasets`` library. Slow to import, because that library is."""

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from efface.data.decoding import Encoded
from efface.data.images import Stored, labels_of
from efface.errors import InputError

REMAP = 512
"""Rows that are read from one mapping of a file."""
LABEL_NAMES = ("label", "labels", "fine_label")
"""Label columns by name, where the types alone do not tell."""


class TableRows:
    """The image column of a table; the rows stay in a memory-mapped file.

    Pages of it that were read count as memory of this process for as long as the file is mapped. It is therefore mapped
    anew after some rows, so that memory does not grow with the data.
    """

    def __init__(self, table: datasets.Dataset, column: str, folder: Path, source: str) -> None:
        """Takes a table.

        Args:
            table: with the images undecoded.
            column: the image column.
            folder: what a relative path in a row starts from.
            source: as the user gave it.
        """
        self.table = table
        self._column = column
        self._folder = folder
        self._source = source
        self._left = REMAP

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Encoded:
        self._map_anew()
        cell = self.table[row][self._column] or {}
        content, path = cell.get("bytes"), cell.get("path")
        if content is None and path is not None:
            content = self._folder / path
        stored_as = f" ({path!r})" if path else ""
        return Encoded(f"row {row}{stored_as} of {self._source!r}", content)

    def _map_anew(self) -> None:
        self._left -= 1
        if self._left < 0 and self.table.cache_files:
            # A pickled table holds the path of its file, and is mapped when it is unpickled.
            self.table = pickle.loads(pickle.dumps(self.table))
            self._left = REMAP


@dataclass(frozen=True, slots=True)
class Columns(Mapping[str, Sequence[object]]):
    """What else a table knows of its rows, read when it is asked for; a class is given by its name."""

    table: datasets.Dataset
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Sequence[object]:
        if name not in self.names:
            raise KeyError(name)
        feature = self.table.features[name]
        values = column_values(self.table, name)
        if not isinstance(feature, datasets.ClassLabel):
            return values
        return [None if value is None or value < 0 else feature.names[value] for value in values]


def stored_from(table: datasets.Dataset, digests: Mapping[str, str], *, folder: Path, source: str) -> Stored:
    """The images and labels of a table. A row is -1 in the labels where it has none.

    There are no class names where the label column is of plain integers.

    Args:
        table: of the ``datasets`` library.
        digests: of its files.
        folder: what a relative path in a row starts from.
        source: as the user gave it, for errors to say.

    Raises:
        InputError: If it is not plain which column holds the images or the labels, or a label is beyond 64 bits.
    """
    # A table that was saved in a format of torch or NumPy hands its rows out as such, decoded or without a column.
    table = table.with_format(None)
    features = table.features
    image = only("image", image_columns(features), features, source)
    label = only("label", _label_columns(features), features, source)
    labels = [-1 if value is None else value for value in column_values(table, label)]
    is_named = isinstance(features[label], datasets.ClassLabel)
    plain = tuple(name for name, f in features.items() if isinstance(f, datasets.Value | datasets.ClassLabel))
    return Stored(
        rows=TableRows(undecoded(table.select_columns([image]), image), image, folder, source),
        labels=labels_of(labels, source),
        class_names=tuple(features[label].names) if is_named else None,
        digests=digests,
        columns=Columns(table.select_columns(list(plain)), plain),
    )


def digest_of_rows(stored: Stored) -> str:
    """The SHA-256 over the bytes of all images and their labels, whatever files a library keeps them in."""
    total = hashlib.sha256()
    for row, label in enumerate(stored.labels.tolist()):
        content = stored.rows[row].content
        if isinstance(content, Path):
            content = content.read_bytes() if content.is_file() else None
        inside = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else "none"
        total.update(f"{inside} {label}\n".encode())
    return total.hexdigest()


def column_values(table: datasets.Dataset, name: str) -> list[Any]:
    """A column as plain values, in the order of the rows, whichever of them the table was narrowed to."""
    # This column alone: the images of all rows would not fit into memory.
    values: list[Any] = table.select_columns([name]).with_format("arrow")[:][name].to_pylist() if len(table) else []
    return values


def undecoded(table: datasets.Dataset, image: str) -> datasets.Dataset:
    """The table with images as the files that they were."""
    is_image = isinstance(table.features[image], datasets.Image)
    return table.cast_column(image, datasets.Image(decode=False)) if is_image else table


def image_columns(features: datasets.Features) -> list[str]:
    """The columns that hold images by their type."""
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


def only(kind: str, found: list[str], features: datasets.Features, source: str) -> str:
    """The one column of a kind.

    Raises:
        InputError: If there are none or several.
    """
    if len(found) == 1:
        return found[0]
    columns = ", ".join(f"{name} ({_type_name(feature)})" for name, feature in features.items())
    many = f"{len(found)} {kind} columns, {' and '.join(map(repr, found))}" if found else f"no {kind} column"
    wanted = {
        "image": "there must be one column of type Image, or of structs with 'bytes' and 'path'; cast_column(NAME, "
        "Image()) of datasets makes one of bytes or paths",
        "caption": "there must be one column called caption, text or captions",
        "label": f"there must be one column of type ClassLabel, or an integer one called {' or '.join(LABEL_NAMES)}; "
        "class_encode_column(NAME) of datasets makes one of names",
    }
    raise InputError(f"{source!r} has {many}; its columns are {columns}", hint=wanted[kind])


def _type_name(feature: object) -> str:
    if isinstance(feature, dict):
        return f"struct of {', '.join(feature)}"
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__
