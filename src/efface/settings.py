"""Settings of methods and syntheses as text: read from a command line, written for a person.

Settings are pydantic dataclasses: one declaration gives type, range, default and meaning, and every way in is checked.
"""

import dataclasses
import difflib
import functools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from pydantic import ValidationError

from efface.errors import InputError

T = TypeVar("T")


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Names and values from ``name=value`` texts; a value is read as JSON where it is JSON, else as text.

    Raises:
        InputError: If a text has no ``=``, or a name stands twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise InputError(f"the setting {pair!r} is not of the form name=value", hint="write --set NAME=VALUE")
        if name in found:
            raise InputError(f"the setting {name!r} is given twice", hint="give it once")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def with_settings(preset: T, changes: Mapping[str, Any]) -> T:
    """The preset with some settings changed.

    Raises:
        InputError: If settings do not exist or are out of range; all of them are named at once.
    """
    known = field_names(preset)
    values = dataclasses.asdict(preset)  # type: ignore[call-overload]
    problems, hints = [], []
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(f"there is no setting {name!r}")
            hints.append(f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            continue
        *parts, last = name.split(".")
        functools.reduce(operator.getitem, parts, values)[last] = changes[name]
    try:
        changed = type(preset)(**values)
    except ValidationError as error:
        for found in error.errors():
            where = ".".join(map(str, found["loc"])) or "settings"
            message = found["msg"].removeprefix("Value error, ")
            problems.append(message if where == "settings" else f"{where} is {found['input']!r}: {message.lower()}")
            hints.append("efface methods lists every setting")
        changed = preset
    if problems:
        raise InputError("; ".join(problems), hint="; ".join(dict.fromkeys(hints)))
    return changed


def with_all_settings(presets: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Several presets with some of their settings changed.

    Args:
        presets: by what their settings' names begin with; the empty text takes what begins with no other.
        changes: by whole names.

    Returns:
        What became of each preset, by the same beginning.

    Raises:
        InputError: As :func:`with_settings`, for all presets at once.
    """
    found, refused = {}, []
    for beginning, preset in presets.items():
        own = {name: value for name, value in changes.items() if _beginning(name, presets) == beginning}
        try:
            found[beginning] = with_settings(preset, {name.removeprefix(beginning): v for name, v in own.items()})
        except InputError as error:
            refused.append(error)
    if refused:
        hints = dict.fromkeys(hint for error in refused for hint in error.hint.split("; "))
        raise InputError("; ".join(map(str, refused)), hint="; ".join(hints))
    return found


def _beginning(name: str, known: Iterable[str]) -> str:
    return max((one for one in known if name.startswith(one)), key=len, default="")


def field_names(settings: object) -> list[str]:
    """The names of all settings, in the order of their declaration; those of a part as ``part.name``."""
    return [name for name, _, _ in _leaves(settings)]


def describe(settings: object) -> list[dict[str, Any]]:
    """Every setting with its type, value, range and meaning."""
    described = []
    for name, owner, field in _leaves(settings):
        kind = get_type_hints(type(owner))[field.name]
        described.append(
            {
                "name": name,
                "type": kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", ""),
                "value": getattr(owner, field.name),
                "range": _range(field.default),
                "description": getattr(field.default, "description", None) or "",
            }
        )
    return described


def _leaves(settings: object, beginning: str = "") -> Iterator[tuple[str, object, "dataclasses.Field[Any]"]]:
    """Every setting that is no part with settings of its own: its name, whose it is, and its declaration."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{beginning}{field.name}.")
        else:
            yield f"{beginning}{field.name}", settings, field


def _range(declared: object) -> str:
    """The bounds that a field declares, in words: ``at least 0, below 1``."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        (key, getattr(bound, key))
        for bound in getattr(declared, "metadata", ())
        for key in words
        if hasattr(bound, key)
    ]
    return ", ".join(f"{words[key]} {value:g}" for key, value in bounds)
