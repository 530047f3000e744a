import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.report.record import SCHEMA
from tests.report.sample_record import named, sample


def test_json_holds_the_flat_scores_that_other_programs_read() -> None:
    record = sample()
    document = json.loads(record.to_json())
    assert document["schema"] == SCHEMA
    assert document["seconds"] == record.seconds
    assert document["peak_memory_bytes"] == record.peak_memory_bytes
    for when, scores in (("before", record.scores.before), ("after", record.scores.after)):
        assert document["scores"][when] == [dataclasses.asdict(score) for score in scores]
    assert set(document["scores"]["after"][0]) == {
        "data", "split", "metric", "towers", "value", "n", "low", "high", "higher_is_better",
    }  # fmt: skip


def test_json_has_every_field_of_the_record_in_sorted_order() -> None:
    record = sample()
    text = record.to_json()
    assert list(json.loads(text)) == sorted(field.name for field in dataclasses.fields(record))
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_equal_records_give_equal_bytes_whatever_the_order_of_their_settings() -> None:
    one = sample(settings={"a": 1, "b": {"c": 2, "d": 3}})
    two = sample(settings={"b": {"d": 3, "c": 2}, "a": 1})
    assert one == two
    assert one.to_json().encode() == two.to_json().encode()


@given(name=st.text())
def test_json_keeps_class_names_of_any_text(name: str) -> None:
    assert json.loads(named(name).to_json())["target"] == name


def test_class_names_stay_readable_in_json() -> None:
    assert "大帛斑蝶" in named("大帛斑蝶").to_json()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        sample(seconds=value).to_json()
