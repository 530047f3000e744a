"""A log of records in which every line holds the digest of the line before, so that none can be changed or taken out.

What is missing at the end cannot be seen from the log alone: whoever wants to know keeps the digest of its last line
somewhere else.
"""

import json
from dataclasses import asdict, dataclass

from efface.records.canonical import canonical, sha256

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

    index: int
    run: str
    sha256: str
    created: str
    previous: str


def entries(text: str) -> list[Entry]:
    """The lines of a log.

    Raises:
        ValueError: If a line is not one, or does not follow from the one before; it says which.
    """
    found: list[Entry] = []
    for index, line in enumerate(text.splitlines()):
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError):
            raise ValueError(f"line {index + 1} is no entry") from None
        if (entry.index, entry.previous) != (index, _digest(found)):
            raise ValueError(f"line {index + 1} does not follow from the one before")
        found.append(entry)
    return found


def extended(text: str, run: str, record_sha256: str, created: str) -> str:
    """The log with one more line.

    Raises:
        ValueError: If it is broken already.
    """
    found = entries(text)
    entry = Entry(len(found), run, record_sha256, created, _digest(found))
    return text + canonical(asdict(entry)).decode("utf-8") + "\n"


def _digest(found: list[Entry]) -> str:
    return sha256(asdict(found[-1])) if found else FIRST
