"""JSON in one form only, so that equal documents have equal bytes and one digest.

The rules are those of RFC 8785 (JSON Canonicalization Scheme): UTF-8; no space between tokens; the names of an object
sorted by their UTF-16 code units; in strings only what must be escaped is, in its shortest form; numbers as ECMAScript
writes them, the shortest digits that give the same double. One rule is wider: an integer beyond 2**53, a seed say, is
written in full, where the RFC has no form for it.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def canonical(value: Any) -> bytes:
    """The canonical form of what JSON can hold: mappings, sequences, texts, numbers, true, false and null.

    Raises:
        ValueError: If a number is NaN or infinite, or a text is no Unicode (it holds half of a surrogate pair).
        TypeError: If a value is none of these, or a name is no text.
    """
    return _written(value).encode("utf-8")


def sha256(value: Any) -> str:
    """The SHA-256 of the canonical form, in lower-case hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        odd = [name for name in value if not isinstance(name, str)]
        if odd:
            raise TypeError(f"JSON has no form for {odd[0]!r} as the name of a value")
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_written(value[name])}" for name in names) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ",".join(map(_written, value)) + "]"
    raise TypeError(f"JSON has no form for {type(value).__name__}")


def _number(value: float) -> str:
    """A double as ECMAScript's Number::toString writes it. Python finds the same digits and sets them out otherwise."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no form for {value}")
    if value == 0:
        return "0"
    # numpy's doubles are floats too, and would show their type.
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to this power.
    point = int(exponent or 0) + len(whole) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"{point - 1:+d}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{power}"
