"""Folders that ``save_to_disk`` of the ``datasets`` library wrote. Slow to import, because that library is."""

import json
from pathlib import Path

import datasets

from efface.data.files import sha256_of
from efface.data.formats import Given
from efface.data.formats.columns import stored_from
from efface.data.images import Stored
from efface.errors import InputError, offer

ONE, MANY = "state.json", "dataset_dict.json"
"""What tells the folder of one table, and that of several splits."""


def is_saved(folder: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote."""
    return (folder / ONE).is_file() or (folder / MANY).is_file()


def read(given: Given) -> Stored:
    """The images of a saved table, or of one split of a saved set of them; ``test`` where none is named.

    Raises:
        InputError: If it cannot be read, or has no such split.
    """
    folder, split = given.path, given.options.get("split")
    if (folder / MANY).is_file():
        splits = sorted(path.name for path in folder.iterdir() if (path / ONE).is_file())
        split = split or "test"
        if split not in splits:
            raise InputError(f"{given.source!r} has no split {split!r}", hint=offer(split, splits))
        folder /= split
    elif split is not None:
        raise InputError(f"{given.source!r} holds one table, not splits", hint=f"leave out split={split}")
    if not is_saved(folder):
        raise InputError(f"{given.source!r} is not what save_to_disk wrote", hint=f"the folder must hold {ONE}")
    files = _files(folder, given.source)
    try:
        table = datasets.load_from_disk(str(folder))
    # The library checks little of what it reads: what is not as it wrote it may raise any of these.
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{given.source!r} cannot be read: {reason}", hint="save it again") from error
    below = folder.relative_to(given.path)
    digests = {(below / file).as_posix(): sha256_of(folder / file) for file in files}
    return stored_from(table, digests, folder=folder, source=given.source)


def _files(folder: Path, source: str) -> list[str]:
    """The names of a table's own files; others that lie there are caches of map and filter."""
    try:
        files = [
            str(file["filename"]) for file in json.loads((folder / ONE).read_text(encoding="utf-8"))["_data_files"]
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{source!r} cannot be read: {ONE} names no files", hint="save it again") from error
    if not files:
        raise InputError(f"{source!r} holds no row", hint="give a table with images")
    return files
