import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.records.signature import Signature
from efface.report.document import SchemaError, parse, payload_sha256, read, seal
from efface.report.record import SCHEMA, Record
from tests.report.sample_record import named, sample

SIGNATURE = Signature("Ed25519", "ab" * 32, "2026-01-31T12:00:00Z", None, "A" * 86 + "==")


def document(**changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(seal(sample()).to_json())
    return loaded | changes


def test_a_sealed_record_is_read_back_as_it_was() -> None:
    sealed = seal(sample(), SIGNATURE)
    again = parse(sealed.to_json())
    assert again.to_json() == sealed.to_json()
    assert again.scores == sealed.scores
    assert again.signature == SIGNATURE


@settings(max_examples=10)
@given(name=st.text(min_size=1))
def test_names_of_any_text_survive(name: str) -> None:
    text = seal(named(name)).to_json()
    assert parse(text).to_json() == text


def test_the_digest_covers_every_field_but_the_seal_itself() -> None:
    told = document()
    assert told["sha256"] == payload_sha256(told)
    covered = {name for name in told if payload_sha256(told | {name: "another"}) != told["sha256"]}
    assert covered == {field.name for field in fields(Record)}
    # A signature added later leaves it as it is: it is what is signed.
    assert seal(sample(), SIGNATURE).sha256 == seal(sample()).sha256


def test_the_digest_does_not_depend_on_how_the_file_is_laid_out() -> None:
    told = json.loads(json.dumps(dict(reversed(document().items())), indent=7))
    assert payload_sha256(told) == seal(sample()).sha256


def test_sealing_again_leaves_the_old_seal_behind() -> None:
    sealed = seal(sample(), SIGNATURE)
    assert asdict(seal(sealed)) == asdict(seal(sample()))


SCORE = asdict(sample().scores.before[0])
DAMAGED: list[tuple[dict[str, Any], str]] = [
    ({"schema": "efface/record/99"}, f"its schema is 'efface/record/99', this version of efface knows '{SCHEMA}'"),
    ({"seed": "7"}, "seed: Input should be a valid integer"),
    ({"more": 1}, "more is not part of the schema"),
    ({"scores": {"before": [], "after": [], "during": []}}, "scores.during is not part of the schema"),
    ({"scores": {"before": [{"data": "x"}], "after": []}}, "scores.before.0.split: "),
    ({"signature": {"algorithm": "RSA"}}, "signature.algorithm: "),
    ({"signature": asdict(SIGNATURE) | {"value": "A" * 85 + "B=="}}, "signature.value: "),
    ({"signature": asdict(SIGNATURE) | {"valid_until": "2027-12-31"}}, "signature.valid_until: "),
    ({"sha256": "AB" * 32}, "sha256: "),
    ({"created": "2026-13-01T00:00:00Z"}, "created: "),
    ({"precision": "float64"}, "precision: "),
    ({"batch_size": 0}, "batch_size: "),
    ({"templates": []}, "templates: "),
    ({"templates": ["a photo"]}, "templates.0: "),
    ({"among": ["monarch"]}, "among: "),
    ({"seconds": -1.0}, "seconds: "),
    ({"scores": {"before": [SCORE | {"n": 0}], "after": []}}, "scores.before.0.n: "),
    ({"scores": {"before": [SCORE | {"n": 10**400}], "after": []}}, "scores.before.0.n: "),
    ({"scores": {"before": [], "after": [SCORE | {"value": 1.5}]}}, "scores.after.0.value: "),
    ({"weights": {"base": "00", "result": None, "changed": [], "tensors": []}}, "weights.base: "),
]


@pytest.mark.parametrize(("changes", "reason"), DAMAGED, ids=[next(iter(c)) for c, _ in DAMAGED])
def test_what_does_not_fit_the_schema_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(json.dumps(document(**changes)))
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", [field.name for field in fields(Record) if field.name not in ("files", "schema")])
def test_no_field_may_be_missing(name: str) -> None:
    told = document()
    del told[name]
    with pytest.raises(SchemaError, match=name):
        parse(json.dumps(told))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    text = json.dumps(document(settings={"rate": 0.125})).replace("0.125", number)
    with pytest.raises(SchemaError, match="is no number of JSON"):
        parse(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"a": 1}', "[" * 10_000])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="the record cannot be used"):
        parse(text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SchemaError, match="byte 0 is no UTF-8"):
        read(tmp_path / "record.json")
