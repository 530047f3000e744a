import json
from typing import Any

import jsonschema
import pytest

from efface.report.document import SchemaError, parse, seal
from efface.report.schema import FILE, record_schema, schema_text
from tests.report.sample_record import sample
from tests.report.test_document import DAMAGED, document


def test_the_published_file_is_what_the_types_say() -> None:
    # Made anew by: python -c "from efface.report.schema import *; FILE.write_text(schema_text())"
    assert FILE.read_text(encoding="utf-8") == schema_text()


def test_it_is_a_schema_and_a_record_fits_it() -> None:
    schema = record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(seal(sample()).to_json()), schema)


@pytest.mark.parametrize("changes", [changes for changes, _ in DAMAGED], ids=[next(iter(c)) for c, _ in DAMAGED])
def test_what_we_refuse_the_published_schema_refuses_too(changes: dict[str, Any]) -> None:
    damaged = document(**changes)
    with pytest.raises(SchemaError):
        parse(json.dumps(damaged))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(damaged, record_schema())


def test_every_field_of_the_record_is_explained() -> None:
    schema = record_schema()
    said = {name for name, part in schema["properties"].items() if part.get("description")}
    assert said == set(schema["properties"])
    assert schema["properties"]["seed"]["description"] == "of all random numbers."
