"""Images in parquet files, as the ``datasets`` library writes them. Slow to import, because that library is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import logging
from pyarrow import parquet

from efface.data.files import check_parquet, parquet_shards, sha256_of
from efface.data.formats import Given
from efface.data.formats.columns import TableRows, column_values, image_columns, only, stored_from, undecoded
from efface.data.images import Captioned, Stored
from efface.errors import InputError

TEXT_NAMES = ("caption", "text", "captions")
"""Columns of captions."""
CHUNK = 64
"""Rows copied at a time when a file is first read."""
BUFFER = 2**20
"""Bytes of a column that are read at a time."""


def read(given: Given) -> Stored:
    """The images of a parquet file, or of the shards in a folder; see :func:`read_parquet`.

    Raises:
        InputError: If there are none, or they cannot be read as one table.
    """
    path = given.path
    files = [path] if path.is_file() else parquet_shards(path)
    if not files:
        raise InputError(f"{given.source!r} holds no parquet file", hint="give a parquet file, or a folder of shards")
    stored = read_parquet(files, source=given.source)
    return replace(stored, home=files[0].parent)


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
    return stored_from(datasets.concatenate_datasets(shards), digests, folder=files[0].parent, source=source)


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
    text = only("caption", found, features, source)
    image = only("image", image_columns(features), features, source)
    table = undecoded(datasets.concatenate_datasets(shards).select_columns([image, text]), image)
    cells = column_values(table, text)
    captions = tuple(tuple(cell) if isinstance(cell, list) else (cell,) for cell in cells)
    return Captioned(TableRows(table, image, files[0].parent, source), captions, digests)


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


def _load(file: Path, sha256: str) -> datasets.Dataset:
    check_parquet(file)
    try:
        if not parquet.read_metadata(file).num_rows:
            raise InputError(f"{str(file)!r} holds no row", hint="give a file with images")
        features = datasets.Features.from_arrow_schema(parquet.read_schema(file))
        with quiet():
            # Not load_dataset, which sends a request to count its use, for local files too. The digest is part of the
            # cache's key, so that a file that was replaced under its old time is read anew.
            return datasets.Dataset.from_generator(
                _rows, features=features, gen_kwargs={"file": str(file.absolute()), "sha256": sha256}
            )
    except (ValueError, OSError, datasets.exceptions.DatasetGenerationError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise InputError(f"{str(file)!r} cannot be read: {reason}", hint="copy or write it again") from error


def _rows(file: str, sha256: str) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file; never more than some of them in memory, however large its row groups are."""
    del sha256
    with parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER) as opened:
        for some in opened.iter_batches(batch_size=CHUNK, use_threads=False):
            yield from some.to_pylist()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps ``datasets`` from showing progress bars, and it and the Hub's client from logging what is raised anyway."""
    verbosity, verbosity_of_client = datasets.logging.get_verbosity(), logging.get_verbosity()
    # False: the user's environment asks for bars; datasets warns when they are then switched off.
    has_bars = not datasets.are_progress_bars_disabled() and datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    logging.set_verbosity(datasets.logging.CRITICAL)
    if has_bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        logging.set_verbosity(verbosity_of_client)
        if has_bars:
            datasets.enable_progress_bars()
