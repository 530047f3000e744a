import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.errors import InputError
from efface.export.layouts import Rule, clip_rules, converted, siglip_rules

QKV = Rule((("q", 1), ("k", 1), ("v", 1)), (("in", 1),))
POOL = Rule((("in_proj", 1),), (("q", 1), ("kv", 2)))


def numbers(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape)


def test_query_key_and_value_are_the_thirds_of_one_tensor() -> None:
    made = converted({"in": numbers(6, 2)}, [QKV], "transformers")
    assert {name: tensor.tolist() for name, tensor in made.items()} == {
        "q": [[0, 1], [2, 3]],
        "k": [[4, 5], [6, 7]],
        "v": [[8, 9], [10, 11]],
    }


def test_of_siglips_pool_key_and_value_are_the_last_two_thirds() -> None:
    made = converted({"in_proj": numbers(6)}, [POOL], "open_clip")
    assert {name: tensor.tolist() for name, tensor in made.items()} == {"q": [0, 1], "kv": [2, 3, 4, 5]}


def test_a_projection_is_transposed_and_an_axis_is_added_or_taken_away() -> None:
    rules = [
        Rule((("a", 1),), (("b", 1),), "transposed"),
        Rule((("scale", 1),), (("logit_scale", 1),), "axis in transformers"),
        Rule((("places", 1),), (("pos_embed", 1),), "axis in open_clip"),
    ]
    state = {"a": numbers(2, 3), "scale": torch.tensor([4.0]), "places": numbers(5, 2)}
    made = converted(state, rules, "open_clip")
    assert made["b"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (made["logit_scale"].shape, made["pos_embed"].shape) == ((), (1, 5, 2))
    assert all(tensor.is_contiguous() for tensor in made.values())
    back = converted(made, rules, "transformers")
    assert all(torch.equal(back[name], state[name]) for name in state)


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["clip", "siglip"]))
def test_rules_of_any_depth_go_there_and_back_bit_for_bit(image: int, text: int, kind: str) -> None:
    layers = {f"vision_model.encoder.layers.{n}.x": numbers(1) for n in range(image)}
    layers |= {f"text_model.encoder.layers.{n}.x": numbers(1) for n in range(text)}
    rules = (clip_rules if kind == "clip" else siglip_rules)(layers, "transformers")
    ours, theirs = ([name for rule in rules for name, _ in side(rule)] for side in (left, right))
    assert len(set(ours)) == len(ours)
    assert len(set(theirs)) == len(theirs)
    # A number of its own for each tensor, so that a mixed-up name would be seen; 6 rows can be split in any way.
    state = {name: torch.full((1, 1) if "logit" in name else (6, 6), float(n)).half() for n, name in enumerate(ours)}
    made = converted(state, rules, "open_clip")
    assert sorted(made) == sorted(theirs)
    again = (clip_rules if kind == "clip" else siglip_rules)(made, "open_clip")
    assert {(rule.transformers, rule.open_clip) for rule in again} == {(r.transformers, r.open_clip) for r in rules}
    back = converted(made, again, "transformers")
    assert {name: tensor.dtype for name, tensor in back.items()} == dict.fromkeys(ours, torch.float16)
    assert all(torch.equal(back[name], state[name]) for name in ours)


def left(rule: Rule) -> tuple[tuple[str, int], ...]:
    return rule.transformers


def right(rule: Rule) -> tuple[tuple[str, int], ...]:
    return rule.open_clip


def test_a_tensor_that_is_missing_or_has_no_place_is_named() -> None:
    with pytest.raises(InputError, match=re.escape("the model has no tensor 'k', which open_clip needs")):
        converted({"q": numbers(2)}, [QKV], "open_clip")
    with pytest.raises(InputError, match="the model's tensor 'logit_bias' has no place in the format of transformers"):
        converted({"in": numbers(3), "logit_bias": numbers(1)}, [QKV], "transformers")
