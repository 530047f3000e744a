"""Files and folders that are there whole or not at all, on a full disk too."""

import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from efface.errors import EffaceError
from efface.paths import named

# How safetensors and tokenizers, written in Rust, say what the system said.
OS_ERROR = re.compile(r"\(os error (\d+)\)")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place beside ``path``, for a file or a folder, that becomes ``path`` when the block ends well.

    When it does not, ``path`` is as it was, and what was begun beside it is gone, folders above it that were made for
    it too. What stands at ``path`` is replaced: a file by a file, a folder by a folder. Nobody else has the place, so
    that of two who write to ``path`` at once the later one wins as a whole. A power cut leaves one of both too:
    all bytes are on the disk before ``path`` changes, and the change is when the block is left.

    Raises:
        OSError: If it cannot be written, also where a library has an exception of its own for that, or a file would
            take the place of a folder or a folder that of a file.
    """
    path = named(path).absolute()
    partial = _beside(path, "partial")
    made = make_parents(path)
    try:
        yield partial
        _sync(partial)
        _swap(partial, path)
        _sync_folder(path.parent)
    except Exception as error:
        number = _system_number(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        _remove(partial)
        if not path.exists():
            remove_empty(made)


def make_parents(path: Path) -> list[Path]:
    """Makes the folders above a path, and returns those that were not there, the innermost first."""
    made = [parent for parent in path.absolute().parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return made


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders, in this order, but for those that hold something."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def clear_leftovers(path: Path) -> None:
    """Removes what a process that was killed while it wrote ``path`` left beside it; nobody may be writing it now."""
    path = named(path).absolute()
    for state in ("partial", "replaced"):
        for left in path.parent.glob(f".{glob.escape(path.name)}.{state}-*"):
            _remove(left)


def _system_number(error: Exception) -> int | None:
    """The system's error behind what a library raised; None where it is something else, or says itself what it is."""
    if isinstance(error, OSError | EffaceError):
        return None
    # torch ends its archive where a write has failed, and says that this cannot be.
    inner = error.__context__
    if isinstance(inner, OSError) and inner.errno is not None:
        return inner.errno
    found = OS_ERROR.search(str(error))
    return int(found[1]) if found else None


def _sync(path: Path) -> None:
    """Waits until a file, or all in a folder, is on the disk: the new name can get there before the bytes do."""
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _sync(inner)
        _sync_folder(path)
    elif path.is_file():
        # Windows syncs only what is open for writing; elsewhere a file that may not be written to is synced too.
        with path.open("r+b" if os.name == "nt" else "rb") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows opens no folders, and some file systems sync none
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _swap(new: Path, old: Path) -> None:
    # A file never takes the place of a folder and all that is in it: the system refuses it.
    if not old.is_dir() or not new.is_dir():
        os.replace(new, old)
        return
    aside = _beside(old, "replaced")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:  # an interrupt too must not lose what was there
        if not old.exists():
            os.rename(aside, old)
        raise
    _remove(aside)


def _beside(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{state}-{uuid.uuid4().hex[:8]}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
