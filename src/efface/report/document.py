"""The record as a document that can be checked: sealed with its digest, signed if wanted, and read back."""

import dataclasses
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from efface.errors import EffaceError
from efface.records.canonical import sha256
from efface.records.fields import Digest
from efface.records.signature import Signature
from efface.report.record import SCHEMA, Record

SEAL = ("sha256", "signature")
"""The fields that stand for the others, and so are no part of the digest."""


class SchemaError(EffaceError):
    """A document is no record, or one of another form."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sealed(Record):
    """A record with what it is checked by.

    Attributes:
        sha256: of the canonical JSON of all other fields but the signature.
        signature: who stands by it; None for nobody.
    """

    sha256: Digest
    signature: Signature | None = None


def seal(record: Record, signature: Signature | None = None) -> Sealed:
    """The record with its digest; an older seal is left behind."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(Record)}
    plain = Record(**values)
    return Sealed(**values, sha256=payload_sha256(json.loads(plain.to_json())), signature=signature)


def payload_sha256(document: dict[str, Any]) -> str:
    """The digest of a document: of the canonical JSON of all its fields but those of the seal."""
    return sha256({name: value for name, value in document.items() if name not in SEAL})


def read(path: Path) -> Sealed:
    """The record in a file.

    Raises:
        SchemaError: See :func:`parse`.
    """
    try:
        return parse(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _no_record(f"byte {error.start} is no UTF-8") from None


def parse(text: str) -> Sealed:
    """The record that a text holds.

    Raises:
        SchemaError: If it is no JSON, of an unknown schema, or does not have exactly the fields and types of it.
    """
    try:
        document = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise _no_record(f"it is no JSON: {error}") from None
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise _no_record(f"its schema is {found!r}, this version of efface knows {SCHEMA!r}")
    try:
        sealed: Sealed = adapter().validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise _no_record(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    unknown = _first_difference(document, json.loads(sealed.to_json()))
    if unknown is not None:
        raise _no_record(f"{unknown} is not part of the schema")
    return sealed


@cache
def adapter() -> Any:
    """The type adapter that checks a document against the types of a sealed record, and describes them."""
    return TypeAdapter(Sealed)


def _first_difference(document: Any, known: Any, where: str = "") -> str | None:
    """Where a document says something that was not taken over; None where all of it was."""
    if isinstance(document, dict) and isinstance(known, dict):
        extra = sorted(set(document) - set(known))
        if extra:
            return f"{where}{extra[0]}"
        parts = [(document[name], known[name], f"{where}{name}.") for name in document]
    elif isinstance(document, list) and isinstance(known, list):
        parts = [(one, other, f"{where}{i}.") for i, (one, other) in enumerate(zip(document, known, strict=True))]
    else:
        return None if document == known else where.rstrip(".")
    return next((found for part in parts if (found := _first_difference(*part)) is not None), None)


def _finite(number: str) -> float:
    """A number that JSON has: not NaN, not one that is infinite or becomes it."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no number of JSON")
    return value


def _no_record(reason: str) -> SchemaError:
    return SchemaError(f"the record cannot be used: {reason}", hint="give a run folder that efface wrote")
