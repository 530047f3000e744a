"""Paths as a user writes them."""

import os
from pathlib import Path


def path_of(written: str | Path) -> Path:
    """The path that a user wrote, with the home in place of a ``~`` or ``~name`` that it starts with."""
    # Not Path.expanduser, which raises at the home of nobody.
    return Path(os.path.expanduser(written))
