"""Stanford Dogs as it is unpacked: ``Images/n02085620-Chihuahua/n02085620_10074.jpg`` and ``test_list.mat``."""

from dataclasses import replace
from pathlib import Path

import torch

from efface.data.files import must_exist
from efface.data.formats import Given
from efface.data.formats.folders import ImageFiles, read_class_folders
from efface.data.formats.matlab import load_mat
from efface.data.images import Stored
from efface.errors import InputError, counted, offer

SPLITS = ("train", "test", "all")


def read(given: Given) -> Stored:
    """The images of a split, ``test`` where none is named; ``all`` needs no list.

    Class names are those of the folders, less the WordNet id, with spaces for underscores.

    Raises:
        InputError: If the layout is another, there is no such split, or scipy is not there to read the list.
    """
    split = given.options.get("split", "test")
    if split not in SPLITS:
        raise InputError(f"{given.source!r} has no split {split!r}", hint=offer(split, SPLITS))
    folder = given.path / "Images"
    must_exist(folder, hint="give the folder with Images/ and test_list.mat")
    everything = read_class_folders(folder)
    names = tuple(name.partition("-")[2].replace("_", " ") or name for name in everything.class_names or ())
    stored = replace(everything, class_names=names, home=given.path)
    return stored if split == "all" else _listed(stored, folder, _list(given.path, split))


def _list(root: Path, split: str) -> list[str]:
    file = next(
        (path for path in (root / f"{split}_list.mat", root / "lists" / f"{split}_list.mat") if path.exists()), None
    )
    if file is None:
        raise InputError(f"{str(root)!r} has no {split}_list.mat", hint="take all images with split=all")
    lists = load_mat(file)
    if "file_list" not in lists:
        raise InputError(f"{str(file)!r} holds no file_list", hint="unpack lists.tar again")
    found = lists["file_list"]
    # scipy squeezes a list of one to the text itself.
    return [str(path) for path in ([found] if isinstance(found, str) else found.tolist())]


def _listed(stored: Stored, folder: Path, paths: list[str]) -> Stored:
    label_of = dict(zip(stored.digests, stored.labels.tolist(), strict=True))
    missing = [path for path in paths if path not in label_of]
    if missing:
        raise InputError(
            f"the list names {counted(len(missing), 'image')} not in {str(folder)!r}, {missing[0]!r} first",
            hint="unpack images.tar again",
        )
    return replace(
        stored,
        rows=ImageFiles(folder, tuple(paths)),
        labels=torch.tensor([label_of[path] for path in paths]),
        digests={path: stored.digests[path] for path in paths},
    )
