"""Images in class folders: one folder a class."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import torch

from efface.data.decoding import Encoded, endings
from efface.data.files import sha256_of
from efface.data.formats import Given
from efface.data.images import Stored
from efface.errors import EffaceWarning, InputError

METADATA = frozenset(
    {".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".html", ".yaml", ".yml", ".ini", ".db"}
)
"""The endings of files that may lie beside images."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files, by row.

    Attributes:
        paths: below the folder, with ``/`` between their parts.
    """

    folder: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Encoded:
        path = self.paths[row]
        return Encoded(f"the image {path!r} in {str(self.folder)!r}", self.folder / path)


SPLITS = frozenset({"train", "val", "valid", "validation", "test", "dev"})
"""What folders are called that hold splits, not classes."""


def read(given: Given) -> Stored:
    """The images of a folder of class folders; see :func:`read_class_folders`.

    Where no format was named, folders that can be meant in another way are refused: splits, and domains of classes.

    Raises:
        InputError: If a folder holds no image, or the folders may not be classes.
    """
    if not given.prefix:
        _check_meant(given)
    return read_class_folders(given.path)


def has_class_folders(folder: Path) -> bool:
    """Whether an image lies in a folder of this folder.

    Raises:
        InputError: If a link leads to a folder that it lies in itself.
    """
    return any(any(_images_in(entry)) for entry in classes_in(folder))


def loose_images(folder: Path) -> tuple[str, ...]:
    """The names of the image files in a folder that holds no other folder; none where it does."""
    known = endings()
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and _ending(entry) in known)
    return () if classes_in(folder) else tuple(name for name in found if not name.startswith("."))


def read_class_folders(folder: Path) -> Stored:
    """The images in the folders of a folder; a label is the folder's place among the sorted names.

    An image may lie deeper inside its class folder. Hidden files and folders are ignored. Symbolic links are followed.
    Of other files that may have been meant, and of images in no class folder, a warning says how many there are.

    Raises:
        InputError: If a folder holds no image, or a link leads to a folder that it lies in itself.
    """
    classes, known = classes_in(folder), endings()
    held = [list(_files_in(entry, (os.path.realpath(folder),))) for entry in classes]
    files = [sorted(p.relative_to(folder).as_posix() for p in found if _ending(p) in known) for found in held]
    empty = [entry.name for entry, found in zip(classes, files, strict=True) if not found]
    if empty:
        raise InputError(
            f"no image in these class folders of {str(folder)!r}: {', '.join(map(repr, empty))}",
            hint="an image file ends in .jpg, .png, .webp or another ending of Pillow's; take away folders that are no "
            "class",
        )
    loose = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    _warn_of_others(folder, chain.from_iterable(held), loose)
    paths = tuple(path for found in files for path in found)
    return Stored(
        rows=ImageFiles(folder, paths),
        labels=torch.tensor([label for label, found in enumerate(files) for _ in found]),
        class_names=tuple(entry.name for entry in classes),
        digests={path: sha256_of(folder / path) for path in paths},
        home=folder,
    )


def classes_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name; hidden ones are ignored."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _check_meant(given: Given) -> None:
    """Refuses folders of splits, and folders of folders that repeat, as those of domains do."""
    inner = {folder: {entry.name for entry in classes_in(folder)} for folder in classes_in(given.path)}
    if inner and all(folder.name.lower() in SPLITS for folder in inner):
        names = ", ".join(repr(folder.name) for folder in inner)
        way = next((f"give one of them, such as {str(folder)!r}; " for folder, found in inner.items() if found), "")
        raise InputError(
            f"{given.source!r} holds splits: {names}", hint=f"{way}folders:{given.place} takes them as classes"
        )
    often = {name for name, times in Counter(chain.from_iterable(inner.values())).items() if times > 1}
    repeated = {folder: found & often for folder, found in inner.items() if len(found & often) > 1}
    for one, other in combinations(repeated, 2):
        both = sorted(repeated[one] & repeated[other])
        # One name that repeats is a habit, such as n01443537/images; several are classes.
        if len(both) > 1:
            raise InputError(
                f"{given.source!r} holds {both[0]!r} and {both[1]!r} in both {one.name!r} and {other.name!r}: are "
                "these domains, or classes?",
                hint=f"write domains:{given.place} or folders:{given.place}",
            )


def _images_in(folder: Path) -> Iterator[Path]:
    known = endings()
    return (path for path in _files_in(folder, (os.path.realpath(folder.parent),)) if _ending(path) in known)


def _files_in(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """The files in a folder, however deep; hidden ones are ignored, and links are followed.

    Args:
        folder: where to look.
        above: the real paths of the folders that led to it.

    Raises:
        InputError: If a link leads to a folder that it lies in itself, whose images would come again and again.
    """
    real = os.path.realpath(folder)
    if any(Path(one).is_relative_to(real) for one in above):
        raise InputError(
            f"the link {str(folder)!r} leads to {real!r}, which it lies in itself", hint="take the link away"
        )
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_in(entry, (*above, real))
        else:
            yield entry


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _warn_of_others(folder: Path, files: Iterable[Path], loose: Iterable[Path]) -> None:
    """Says which files are left aside that may have been meant.

    Args:
        folder: the folder of class folders.
        files: what lies in the class folders.
        loose: what lies beside them.
    """
    known, outside = endings(), list(loose)
    unknown = [ending for path in (*files, *outside) if (ending := _ending(path)) not in known | METADATA]
    ends = Counter(ending or "without an ending" for ending in unknown)
    ends.update(f"{ending} in no class folder" for path in outside if (ending := _ending(path)) in known)
    if ends:
        parts = ", ".join(f"{times} {what}" for what, times in ends.most_common())
        warnings.warn(f"files in {str(folder)!r} are left aside: {parts}", EffaceWarning, stacklevel=4)
