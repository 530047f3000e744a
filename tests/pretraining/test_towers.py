"""Towers in both formats: what a plain library makes of the folder, and what may not be said twice."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from efface.backends import save
from efface.backends.base import LoadedCLIP, digest
from efface.errors import InputError
from efface.pretraining.recipe import Recipe, recipe_from
from efface.pretraining.towers import Towers, exported, load_initial, write_initial
from tests.pretraining.recipes import RESNET, tables, tiny_recipe

CAPTIONS = ("a red dog", "a cat.")
FAMILIES = ("open_clip", "transformers")
CPU = torch.device("cpu")


def _made(folder: Path, recipe: Recipe) -> LoadedCLIP:
    write_initial(recipe, CAPTIONS, folder)
    return load_initial(recipe, folder, CPU)


def _with(family: str, path: str, value: Any, **training: Any) -> Recipe:
    changed = copy.deepcopy(tables(family=family, **training))
    table = changed["model"]["config"]
    *inner, last = path.split(".")
    for name in inner:
        table = table[name]
    table[last] = value
    return recipe_from(changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_seed_alone_decides_the_weights(tmp_path: Path, family: str) -> None:
    before, digests = torch.get_rng_state(), []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_initial(tiny_recipe(family=family, seed=seed), CAPTIONS, tmp_path / name)
        digests.append(digest(load_file(next((tmp_path / name).glob("*.safetensors")))))
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_towers_read_texts_and_images_as_the_recipe_says(tmp_path: Path, family: str, loss: str) -> None:
    clip = _made(tmp_path / "m", tiny_recipe(family=family, loss=loss))
    tokens = clip.tokenize(["a dog", "a cat"])
    assert tokens.shape == (2, 12)
    # pad, unk, begin, ".", a, cat, dog, red, end
    assert tokens[:, :5].tolist() == [[2, 4, 6, 8, 0], [2, 4, 5, 8, 0]]
    assert clip.encoder.pixels.width == 32
    assert clip.encoder.logit_scale.item() == pytest.approx(1 / 0.07 if loss == "clip" else 10, rel=1e-5)
    towers = Towers(clip.encoder, -10.0 if loss == "siglip" else None)
    images, texts, scale, bias = towers(torch.zeros(3, 3, 32, 32), tokens)
    assert images.shape == (3, 16)
    assert texts.shape == (2, 16)
    assert scale.item() == clip.encoder.logit_scale.item()
    assert bias.item() == (-10 if loss == "siglip" else 0)
    # open_clip has a place for the bias, transformers' CLIP has none.
    assert (towers.bias is not None) == (family == "transformers" and loss == "siglip")


def test_all_that_is_trained_gets_a_gradient(tmp_path: Path) -> None:
    for family in FAMILIES:
        for bias in (None, -3.0):
            recipe = tiny_recipe(family=family, loss="clip" if bias is None else "siglip")
            clip = _made(tmp_path / f"{family}{bias}", recipe)
            towers = Towers(clip.encoder, bias)
            images, texts, scale, own = towers(torch.rand(2, 3, 32, 32), clip.tokenize(["a dog", "a cat"]))
            ((images @ texts.T).sum() * scale + own).backward()
            assert [name for name, p in towers.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_softmax_loss_does_not_wait_for_a_bias_of_open_clips(tmp_path: Path) -> None:
    clip = _made(tmp_path / "m", _with("open_clip", "init_logit_bias", -7.0))
    assert not Towers(clip.encoder, None).module.get_parameter("logit_bias").requires_grad


@pytest.mark.parametrize(("scale", "kept"), [(5.0, math.log(100)), (-1.0, 0.0), (1.5, 1.5)])
def test_the_scale_stays_between_1_and_the_most(tmp_path: Path, scale: float, kept: float) -> None:
    towers = Towers(_made(tmp_path / "m", tiny_recipe()).encoder, None)
    towers.module.get_parameter("logit_scale").data.fill_(scale)
    towers.clamp_scale_(100.0)
    assert towers.module.get_parameter("logit_scale").item() == pytest.approx(kept)


@pytest.mark.parametrize("stored", ["fp32", "fp16"])
def test_open_clip_loads_what_is_exported(tmp_path: Path, stored: str) -> None:
    recipe = recipe_from({**tables(), "model": {**tables()["model"], "stored": stored}})
    clip = exported(_made(tmp_path / "m", recipe), recipe)
    save(clip, tmp_path / "out")
    dtypes = {t.dtype for t in load_file(tmp_path / "out" / "open_clip_model.safetensors").values()}
    assert dtypes == {torch.float16 if stored == "fp16" else torch.float32}
    model = open_clip.create_model(f"local-dir:{tmp_path / 'out'}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")(["a red dog", "unheard of"])
    assert torch.equal(tokens, clip.tokenize(["a red dog", "unheard of"]))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.encode_text(tokens, normalize=True), clip.encoder.encode_text(tokens))
    assert torch.equal(model.encode_image(images, normalize=True), clip.encoder.encode_image(images))


@pytest.mark.parametrize("stored", ["fp32", "fp16"])
def test_transformers_loads_what_is_exported(tmp_path: Path, stored: str) -> None:
    from transformers import AutoTokenizer, CLIPModel

    given = tables(family="transformers")
    recipe = recipe_from({**given, "model": {**given["model"], "stored": stored}})
    clip = exported(_made(tmp_path / "m", recipe), recipe)
    save(clip, tmp_path / "out")
    model = CLIPModel.from_pretrained(tmp_path / "out")
    assert model.dtype == (torch.float16 if stored == "fp16" else torch.float32)
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(
        ["a red dog", "a cat"], padding="max_length", max_length=12, truncation=True, return_tensors="pt"
    )
    assert torch.equal(tokens["input_ids"], clip.tokenize(["a red dog", "a cat"]))
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        found = model.float().eval()(pixel_values=images, **tokens).logits_per_image
        known = (
            clip.encoder.logit_scale
            * clip.encoder.encode_image(images)
            @ clip.encoder.encode_text(tokens["input_ids"]).T
        )
    torch.testing.assert_close(found, known)


@pytest.mark.parametrize(
    ("family", "path", "value", "text"),
    [
        ("open_clip", "vision_cfg.image_size", 64, "vision_cfg.image_size is 64, but tokenizer and pixels make it 32"),
        ("open_clip", "text_cfg.vocab_size", 5, "text_cfg.vocab_size is 5"),
        ("transformers", "text_config.eos_token_id", 1, "text_config.eos_token_id is 1"),
        ("open_clip", "hight", 3, "no model can be built from model.config: TypeError"),
        ("open_clip", "vision_cfg", 3, "model.config.vision_cfg is no table"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: Path, family: str, path: str, value: Any, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        write_initial(_with(family, path, value), CAPTIONS, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "path", "near"),
    [
        ("open_clip", "vision_cfg.widht", "width"),
        ("open_clip", "text_cfg.head", "heads"),
        ("transformers", "projektion_dim", "projection_dim"),
        ("transformers", "vision_config.hiden_size", "hidden_size"),
        ("transformers", "text_config.num_hidden_layer", "num_hidden_layers"),
    ],
)
def test_a_name_that_is_misspelt_is_refused_with_the_nearest(tmp_path: Path, family: str, path: str, near: str) -> None:
    with pytest.raises(InputError, match=f"there is no model.config.{path}$") as caught:
        write_initial(_with(family, path, 3), CAPTIONS, tmp_path / "m")
    assert f"did you mean {near}" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_names_that_transformers_knows_are_not_refused(tmp_path: Path) -> None:
    for path in ("initializer_factor", "vision_config.initializer_factor", "text_config.initializer_factor"):
        _made(tmp_path / path, _with("transformers", path, 0.5))
    _made(tmp_path / "a", _with("transformers", "attn_implementation", "eager"))


def test_eos_pooling_knows_the_end(tmp_path: Path) -> None:
    _made(tmp_path / "m", _with("open_clip", "text_cfg.pool_type", "eos"))
    config = json.loads((tmp_path / "m" / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config["model_cfg"]["text_cfg"]["eos_id"] == 8


def test_a_resnet_can_be_built(tmp_path: Path) -> None:
    given = tables()
    clip = _made(tmp_path / "m", recipe_from({**given, "model": {"family": "open_clip", "config": RESNET}}))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in clip.encoder.module.modules())
