"""Documents of tables, lists, texts and numbers: their text, and where two of them differ."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def plain_text(document: Mapping[str, Any]) -> str:
    """A document as JSON with sorted keys; what JSON does not have stands there as its text."""
    return json.dumps(document, sort_keys=True, indent=1, default=str, ensure_ascii=False)


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it is read back from its text: tuples are lists then, names are texts."""
    found: dict[str, Any] = json.loads(plain_text(document))
    return found


def differences(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names under which two plain documents differ."""
    for name in sorted({*left, *right}):
        here, there = left.get(name), right.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from differences(here, there, f"{prefix}{name}.")
        elif here != there:
            yield f"{prefix}{name}"
