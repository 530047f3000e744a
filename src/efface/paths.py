"""Paths as a user writes them."""

import os
from pathlib import Path


def path_of(written: str | Path) -> Path:
    """The path that a user wrote, with the home in place of a ``~`` or ``~name`` that it starts with."""
    # Not Path.expanduser, which raises at the home of nobody.
    return Path(os.path.expanduser(written))


def named(path: Path) -> Path:
    """A path that ends in the name of what it leads to, so that something can stand beside it: not in a dot or two."""
    return path.resolve() if path.name in ("", "..") else path
