"""Held-out images from where the user says they are."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from efface.data.files import check_in, must_exist, sha256_of_all
from efface.data.folders import has_class_folders, read_class_folders
from efface.data.holdout import EvalData
from efface.data.images import Preprocess, Stored, StoredImages
from efface.data.prompts import CLASS_NAMES_FILE, class_names_from
from efface.data.symbols import PREFIX, open_symbols
from efface.errors import InputError
from efface.request import check_names

WANTED = "give a parquet file, a folder of parquet shards, a folder with one folder of images a class, or symbols:test"
# What tells shards of one split apart: -00000-of-00005, with or without the hash that datasets once added; or 0000.
SHARD = re.compile(r"(^|[-_.])\d+(-of-\d+)?(-[0-9a-f]{16})?$")


def open_source(source: str, *, preprocess: Preprocess, workers: int = 0) -> EvalData:
    """The images of a parquet file, a folder of parquet shards, a folder of class folders, or the embedded world.

    The last is ``symbols:SPLIT``; see :func:`efface.data.symbols.open_symbols`. Class names come from
    ``classnames.txt`` (beside the parquet file, or in the folder; for class folders in the order of their sorted
    names), else from the label column, else from the folders.

    ``sha256`` is that of the file's bytes. For a folder it is :func:`efface.data.files.sha256_of_all` over the images
    or shards, by their path below the folder. ``classnames.txt`` is not part of it, nor are images that a row of a
    parquet file only names by their path.

    Args:
        source: a path, or ``symbols:SPLIT``.
        preprocess: from an upright RGB image to model input.
        workers: processes that decode images; 0 decodes in this one.

    Raises:
        InputError: If there is no such data, it has unlabelled images, or its class names do not fit.
    """
    if source.startswith(PREFIX):
        return open_symbols(source, preprocess=preprocess)
    path = Path(os.path.expanduser(source))
    must_exist(path, hint=WANTED)
    stored = _read(path, source)
    names = _class_names(path, source, stored)
    _check_labels(source, stored, names)
    return EvalData(
        source=source,
        images=StoredImages(stored.rows, stored.labels, preprocess, workers),
        class_names=names,
        sha256=_sha256(path, stored.digests),
    )


def _read(path: Path, source: str) -> Stored:
    files = [path] if path.is_file() else _shards(path, source)
    if not files:
        return read_class_folders(path)
    # Here, because it imports datasets, which takes a second.
    from efface.data.parquet import read_parquet

    return read_parquet(files, source=source)


def _shards(folder: Path, source: str) -> list[Path]:
    shards = sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() == ".parquet" and not entry.name.startswith(".")
    )
    has_images = has_class_folders(folder)
    if not shards and not has_images:
        raise InputError(f"{source!r} holds neither parquet files nor folders of images", hint=WANTED)
    if shards and has_images:
        raise InputError(
            f"{source!r} holds both parquet files and folders of images",
            hint=f"give a parquet file, such as {str(shards[0])!r}, or a folder with only one of them",
        )
    splits = sorted({SHARD.sub("", shard.stem) for shard in shards})
    if len(splits) > 1:
        raise InputError(
            f"{source!r} holds parquet files of more than one split: {', '.join(map(repr, splits))}",
            hint=f"give one file, such as {str(shards[0])!r}, or a folder with the shards of one split",
        )
    return shards


def _class_names(path: Path, source: str, stored: Stored) -> tuple[str, ...]:
    file = (path.parent if path.is_file() else path) / CLASS_NAMES_FILE
    if not file.is_file():
        if stored.class_names is None:
            raise InputError(
                f"{source!r} has labels but no class names",
                hint=f"write them to {str(file)!r}, one a line in label order",
            )
        check_in(source, check_names, stored.class_names)
        return stored.class_names
    names = class_names_from(file)
    if stored.class_names is not None:
        _check_order(file, names, stored.class_names)
    return names


def _check_order(file: Path, names: tuple[str, ...], stored: tuple[str, ...]) -> None:
    if len(names) != len(stored):
        raise InputError(
            f"{str(file)!r} has {len(names)} class names, but the images have {len(stored)} classes",
            hint=f"give one name a line, in the order of {', '.join(map(repr, stored[:3]))}...",
        )
    # Other names are other words for the classes; the same names in another order would be wrong labels.
    if names != stored and sorted(names) == sorted(stored):
        raise InputError(
            f"{str(file)!r} has the class names in another order than the images' labels",
            hint=f"delete it, or start it with {', '.join(map(repr, stored[:3]))}",
        )


def _check_labels(source: str, stored: Stored, names: tuple[str, ...]) -> None:
    unlabelled = int((stored.labels == -1).sum())
    if unlabelled:
        raise InputError(
            f"{unlabelled} of the {len(stored.labels)} rows of {source!r} have no label (-1 or none)",
            hint="give a split with labels; the test splits of some data sets have none",
        )
    low, high = int(stored.labels.min()), int(stored.labels.max())
    if low < 0 or high >= len(names):
        raise InputError(
            f"the labels of {source!r} lie between {low} and {high}, but there are {len(names)} class names",
            hint="a label is the row of its class name, counted from 0",
        )


def _sha256(path: Path, digests: Mapping[str, str]) -> str:
    return digests[path.name] if path.is_file() else sha256_of_all(digests)
