from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from efface.records import fields
from efface.records.fields import TIME, Amount, Count, Difference, Digest, Finite, Positive, Share, Time


@given(st.datetimes(min_value=datetime(1000, 1, 1)))
def test_every_time_that_we_write_is_one(time: datetime) -> None:
    text = time.replace(tzinfo=UTC).strftime(TIME)
    assert TypeAdapter(Time).validate_python(text) == text


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Digest, ["0a" * 32], ["0A" * 32, "0a" * 31, "0a" * 32 + "\n", "0a" * 33]),
        (Time, [], ["2026-01-31", "2026-01-31T12:00:00", "2026-1-31T12:00:00Z", "2026-01-31T24:00:00Z"]),
        (Share, [0.0, 1.0], [-1e-9, 1 + 1e-9, float("nan")]),
        (Difference, [-1.0, 1.0], [-1.1, 1.1, float("nan")]),
        (Positive, [1, fields.LARGEST], [0, -1, fields.LARGEST + 1]),
        (Count, [0, fields.LARGEST], [-1, fields.LARGEST + 1]),
        (Amount, [0.0, 1e300], [-1e-9, float("inf"), float("nan")]),
        (Finite, [-1e300], [float("inf"), float("nan")]),
    ],
)
def test_what_a_field_holds_and_what_not(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    assert [adapter.validate_python(value, strict=True) for value in good] == good
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)
