"""Disks that fill, and what lies in a folder."""

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Tree = dict[str, bytes | None]


def tree(folder: Path) -> Tree:
    """The content of every file below a folder, hidden ones too; None for a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file can grow beyond a size."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes, in memory, at a folder; skips the test where none may be mounted."""
    place.mkdir()
    mount = shutil.which("mount")
    asked = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if mount is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


class Full:
    """The system's calls that write, of which one fails as on a full disk."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for holder, name in ((Path, "write_text"), (Path, "mkdir"), (os, "replace"), (os, "rename")):
            patch.setattr(holder, name, self._failing(getattr(holder, name)))

    def _failing(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *given: object, **more: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, *given, **more)

        return call
