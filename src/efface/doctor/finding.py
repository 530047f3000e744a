"""What a finding is, and what its makers share."""

from dataclasses import dataclass
from typing import Literal

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

Level = Literal["ok", "note", "problem"]

GIB = 2**30
PIP = "python -m pip install"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is in order, worth knowing, or to be repaired.

    Attributes:
        level: a problem keeps a part of efface from working.
        about: a package, a folder or a setting.
        text: what is the case.
        repairs: commands, each of which would do; none where another finding has them.
    """

    level: Level
    about: str
    text: str
    repairs: tuple[str, ...] = ()


def fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range; a version that cannot be read, as of a build from source, is let pass."""
    try:
        return SpecifierSet(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def size(held: int) -> str:
    """Bytes, as a person reads them."""
    return f"{held / GIB:.1f} GiB" if held >= GIB else f"{held / 2**20:.1f} MiB"
