"""A log of records in which every line holds the digest of the line before, so that none can be changed or taken out.

What is missing at the end, a last line that was changed, and a log that was written anew cannot be seen from the log
alone: whoever wants to know keeps the digest of its last line somewhere else.
"""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from efface.records.canonical import canonical, sha256
from efface.records.fields import Count, Digest, Time

FIRST = "0" * 64
"""What the first line has instead of a digest of the line before."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run that was written.

    Attributes:
        index: of the line, from 0.
        run: the run folder's name.
        sha256: of its record, as the record has it.
        created: when the run was made.
        previous: sha256 of the canonical JSON of the line before.
    """

    index: Count
    run: str
    sha256: Digest
    created: Time
    previous: Digest


def entries(text: str) -> list[Entry]:
    """The lines of a log.

    Raises:
        ValueError: If a line is not one, or does not follow from the one before; it says which.
    """
    found: list[Entry] = []
    # A name of a folder may hold whatever else str.splitlines takes for the end of a line.
    *lines, rest = text.split("\n")
    for index, line in enumerate(lines):
        entry = _entry(line, index + 1)
        if (entry.index, entry.previous) != (index, _digest(found)):
            raise ValueError(f"line {index + 1} does not follow from the one before")
        found.append(entry)
    if rest:
        raise ValueError(f"line {len(lines) + 1} does not end")
    return found


def _entry(line: str, number: int) -> Entry:
    try:
        entry: Entry = _adapter().validate_json(line, strict=True)
    except ValueError:
        raise ValueError(f"line {number} is no entry") from None
    if _line(entry) != line + "\n":
        raise ValueError(f"line {number} is not written in the canonical form")
    return entry


def _line(entry: Entry) -> str:
    return canonical(asdict(entry)).decode("utf-8") + "\n"


@cache
def _adapter() -> Any:
    return TypeAdapter(Entry)


def extended(text: str, run: str, record_sha256: str, created: str) -> str:
    """The log with one more line.

    Raises:
        ValueError: If it is broken already.
    """
    found = entries(text)
    entry = Entry(len(found), run, record_sha256, created, _digest(found))
    return text + _line(entry)


def _digest(found: list[Entry]) -> str:
    return sha256(asdict(found[-1])) if found else FIRST
