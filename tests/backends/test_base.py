import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from efface.backends import load
from efface.backends.base import CLIPBackend, check_finite, digest, save_tokenizer
from efface.backends.open_clip import OpenCLIPBackend
from efface.errors import InputError
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import tokenizer


def test_the_digest_is_the_sha256_of_names_dtypes_shapes_and_bytes_by_name() -> None:
    state = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(7)}
    by_hand = hashlib.sha256()
    by_hand.update(b"a torch.int64 ()\n" + (7).to_bytes(8, "little"))
    by_hand.update(b"b torch.float32 (2,)\n" + bytes.fromhex("0000803f00000040"))
    assert digest(state) == by_hand.hexdigest()


def test_the_digest_sees_a_value_a_name_a_dtype_and_a_shape_but_no_order() -> None:
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    assert digest(base) == digest(dict(reversed(base.items())))
    others = [
        {"a": torch.zeros(4), "b": torch.tensor([1.0, 1.0000001])},
        {"c": torch.zeros(4), "b": torch.ones(2)},
        {"a": torch.zeros(4, dtype=torch.float16), "b": torch.ones(2)},
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
    ]
    assert len({digest(state) for state in [base, *others]}) == 5


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    state = {"good": torch.ones(2), "count": torch.tensor(3), "bad": torch.tensor([1.0, float("nan")])}
    with pytest.raises(InputError, match=re.escape("m: 1 tensors hold NaN or infinite values, 'bad' first")):
        check_finite(state, "m")
    check_finite({"good": torch.ones(2)}, "m")


def test_a_copy_has_weights_of_its_own(tmp_path: Path) -> None:
    clip = load(f"local-dir:{write_open_clip(tmp_path / 'm', VIT)}")
    before = digest(clip.stored_state())
    with torch.no_grad():
        next(clip.copy().encoder.module.parameters()).add_(1)
    assert digest(clip.stored_state()) == before


def test_rounding_leaves_what_a_half_precision_checkpoint_can_hold(tmp_path: Path) -> None:
    clip = load(f"local-dir:{write_open_clip(tmp_path / 'm', VIT, dtype=torch.float16)}")
    before = digest(clip.stored_state())
    weight = next(clip.encoder.module.parameters())
    with torch.no_grad():
        weight.mul_(1 + 1e-6)
    assert not torch.equal(weight, weight.half().float())
    clip.round_to_stored_()
    assert torch.equal(weight, weight.half().float())
    assert digest(clip.stored_state()) == before


def test_class_tokens_are_laid_out_by_class_and_prompt(tmp_path: Path) -> None:
    clip = load(f"local-dir:{write_open_clip(tmp_path / 'm', VIT)}")
    tokens = clip.class_tokens([["a cat", "one cat"], ["a dog", "one dog"], ["a fox", "one fox"]])
    assert tokens.shape == (3, 2, 16)
    assert torch.equal(tokens[1, 0], clip.tokenize(["a dog"])[0])
    assert torch.equal(tokens[2, 1], clip.tokenize(["one fox"])[0])


def test_a_tokenizer_is_written_for_version_4_of_transformers_too(tmp_path: Path) -> None:
    save_tokenizer(tokenizer(), tmp_path)
    written = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert AutoTokenizer.from_pretrained(tmp_path)("a cat")["input_ids"] == tokenizer()("a cat")["input_ids"]


def test_the_backend_keeps_its_protocol() -> None:
    backend: CLIPBackend = OpenCLIPBackend()
    assert isinstance(backend, CLIPBackend)
