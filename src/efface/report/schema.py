"""The JSON Schema of a record, made of the types that write it; ``record.schema.json`` beside this file holds it."""

import inspect
import json
from pathlib import Path
from typing import Any

from efface.report.document import adapter
from efface.report.record import SCHEMA, Record

FILE = Path(__file__).with_name("record.schema.json")
"""The published schema, for programs in any language."""


def record_schema() -> dict[str, Any]:
    """The schema, in the dialect 2020-12. Nothing is optional and nothing may be added, so that a digest covers all."""
    schema = adapter().json_schema(mode="serialization")
    for part in (schema, *schema["$defs"].values()):
        part["additionalProperties"] = False
        part["required"] = sorted(part["properties"])
        _explain(part, part.get("description", ""))
    _explain(schema, inspect.getdoc(Record) or "")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        **schema,
        "title": f"{SCHEMA}: the record of a run of efface",
    }


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(record_schema(), indent=1, sort_keys=True) + "\n"


def _explain(part: dict[str, Any], docstring: str) -> None:
    """Moves what a docstring says of each attribute to that attribute."""
    summary, _, attributes = docstring.partition("\n\nAttributes:\n")
    part["description"] = " ".join(summary.split())
    name = None
    for line in attributes.splitlines():
        if not line.startswith(" " * 8):
            name, _, line = line.strip().partition(": ")
        if name in part["properties"]:
            said = part["properties"][name].get("description", "")
            part["properties"][name]["description"] = f"{said} {line.strip()}".strip()
