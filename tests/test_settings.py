import json
from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.errors import InputError
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.methods.subgroup import Subgroup
from efface.settings import describe, field_names, parse_pairs, with_all_settings, with_settings
from efface.synthesis.ascent import GradientAscent

names = st.text("abcdefghij_.", min_size=1)


@given(st.dictionaries(names, st.one_of(st.integers(), st.booleans(), st.lists(st.integers()), st.none())))
def test_values_survive_as_json(values: dict[str, object]) -> None:
    assert parse_pairs([f"{name}={json.dumps(value)}" for name, value in values.items()]) == values


def test_what_is_not_json_is_text() -> None:
    assert parse_pairs(["prompt=a {} = b", "rate=3e-3"]) == {"prompt": "a {} = b", "rate": 0.003}


@pytest.mark.parametrize(
    ("pairs", "text"), [(["rate"], "'rate' is not of the form"), (["=3"], "'=3' is not"), (["a=1", "a=2"], "twice")]
)
def test_pairs_that_cannot_be_read_are_refused(pairs: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        parse_pairs(pairs)


def test_settings_change_and_the_rest_stays() -> None:
    changed = with_settings(Lip(), {"learning_rate": 1e-3, "noise": list(Lip().noise), "prompt": "one {}"})
    assert changed == Lip(learning_rate=1e-3, prompt="one {}")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        with_settings(Projection(), {"strenght": 2, "ridge": -1, "strength": "much"})
    text = str(caught.value)
    assert "there is no setting 'strenght'" in text
    assert "ridge is -1: input should be greater than or equal to 0" in text
    assert "strength is 'much': input should be a valid number" in text
    assert "did you mean strength?" in caught.value.hint


def test_a_rule_between_settings_is_named_too() -> None:
    with pytest.raises(InputError, match="image_tensors has 1 entries for 7 noise levels"):
        with_settings(Lip(), {"image_tensors": [3], "text_tensors": [3] * 7})


def test_settings_of_a_part_are_named_after_it() -> None:
    whole = Subgroup()
    changed = with_settings(whole, {"forget.steps": 7, "restore.evaluations": 3, "stages": ["forget"]})
    assert changed == Subgroup(
        stages=("forget",), forget=replace(whole.forget, steps=7), restore=replace(whole.restore, evaluations=3)
    )
    with pytest.raises(InputError) as caught:
        with_settings(whole, {"forget.step": 7, "remind.bound": -1, "forget": {}})
    assert "there is no setting 'forget.step'; there is no setting 'forget'" in str(caught.value)
    assert "remind.bound is -1: input should be greater than or equal to 0" in str(caught.value)
    assert "did you mean forget.steps?" in caught.value.hint


def test_every_setting_is_described() -> None:
    ranges = {d["name"]: d["range"] for d in describe(Lip())}
    assert ranges["stop_accuracy"] == "at least 0, below 1"
    assert ranges["learning_rate"] == "above 0"
    assert ranges["keep_rejected"] == ""
    for settings in (Lip(), Projection(), Subgroup()):
        described = describe(settings)
        assert [d["name"] for d in described] == field_names(settings)
        assert all(d["description"] for d in described)
        assert all(d["value"] == attrgetter(d["name"])(settings) for d in described)


def test_settings_of_several_presets_are_told_apart_and_refused_at_once() -> None:
    presets = {"": Lip(), "synthesis.": GradientAscent()}
    made = with_all_settings(presets, {"images": 3, "synthesis.jitter": 2})
    assert (made[""].images, made["synthesis."].jitter) == (3, 2)
    with pytest.raises(InputError, match=r"images is 0: .*; there is no setting 'blurr'") as caught:
        with_all_settings(presets, {"images": 0, "synthesis.blurr": 1})
    assert caught.value.hint == "efface methods lists every setting; did you mean blur_every?"
