"""The splits of CoOp's repository: ``split_zhou_NAME.json``, with lists of path, label and class name a split."""

import json
from itertools import chain
from pathlib import Path

import torch

from efface.data.files import must_hold, sha256_of
from efface.data.formats import Given
from efface.data.formats.folders import ImageFiles
from efface.data.images import Stored
from efface.errors import InputError, offer
from efface.paths import path_of

Row = tuple[str, int, str]


def read(given: Given) -> Stored:
    """The images of a split, ``test`` where none is named.

    Paths start from the option ``images``, else from the folder of the file or from the first folder in or below it, at
    most two deep, in which the first image is. Underscores in class names stand for spaces, as CoOp has it. The label
    set is that of all splits. The file is part of the digest, since it says which image is of which class.

    Raises:
        InputError: If it is no such file, has no such split, calls a label by two names, or names images that are not
            there.
    """
    file, split = given.path, given.options.get("split", "test")
    splits = _splits(given)
    if split not in splits:
        raise InputError(f"{given.source!r} has no split {split!r}", hint=offer(split, splits))
    names = _names(given, splits)
    if not splits[split] or sorted(names) != list(range(len(names))):
        raise InputError(f"{given.source!r} has no image or skips labels", hint="labels count from 0")
    paths = tuple(path for path, _, _ in splits[split])
    said = given.options.get("images")
    folder = path_of(said) if said is not None else _folder(file, paths[0])
    must_hold(file, paths, folder=folder)
    return Stored(
        rows=ImageFiles(folder, paths),
        labels=torch.tensor([label for _, label, _ in splits[split]]),
        class_names=tuple(names[label] for label in sorted(names)),
        digests={file.name: sha256_of(file)} | {path: sha256_of(folder / path) for path in paths},
        home=file.parent,
    )


def _splits(given: Given) -> dict[str, list[Row]]:
    try:
        document = json.loads(given.path.read_text(encoding="utf-8"))
        return {
            split: [(str(path), _whole(label), str(name)) for path, label, name in rows]
            for split, rows in document.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{given.source!r} is no split of CoOp: {error}",
            hint='it reads {"train": [["cat/1.jpg", 0, "cat"], ...], "val": [...], "test": [...]}',
        ) from error


def _whole(label: object) -> int:
    if type(label) is not int:
        raise TypeError(f"the label {label!r} is no whole number")
    return label


def _names(given: Given, splits: dict[str, list[Row]]) -> dict[int, str]:
    """The class name of each label, in the splits together."""
    names: dict[int, str] = {}
    for _, label, said in chain.from_iterable(splits.values()):
        name = said.replace("_", " ")
        if names.setdefault(label, name) != name:
            raise InputError(
                f"{given.source!r} calls label {label} both {names[label]!r} and {name!r}",
                hint="give each label one name in all splits",
            )
    return names


def _folder(file: Path, first: str) -> Path:
    beside = file.parent
    folders = [beside, *(path for pattern in ("*", "*/*") for path in sorted(beside.glob(pattern)) if path.is_dir())]
    return next((folder for folder in folders if (folder / first).is_file()), beside)
