import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

import efface
from efface.errors import EffaceWarning, InputError
from efface.export import convert as module
from efface.export import to_open_clip
from efface.export.convert import convert, fixed_logits
from tests.tiny_open_clip import PREPROCESS, RESNET, SIGLIP, VIT, WORDED, write_open_clip
from tests.tiny_transformers import SIZE, write_siglip, write_transformers
from tests.upstream import by_open_clip, by_transformers


def with_text(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**config, "text_cfg": {**config["text_cfg"], **more}}


def with_image(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**config, "vision_cfg": {**config["vision_cfg"], **more}}


TANH = {"approximate": "tanh"}
OURS = {"clip": write_transformers, "siglip": write_siglip}
THEIRS: dict[str, dict[str, Any]] = {
    "end of text": with_text(VIT, pool_type="eos", eos_id=49407, tokenizer_kwargs={"clean": "canonicalize"}),
    "custom text": {**WORDED, "custom_text": True},
    "worded": WORDED,
    "siglip": SIGLIP,
}


def there_and_back(base: Path, tmp_path: Path, to: str, back: str) -> Path:
    """Exports a folder and what came of it, checks that the weights are the same again, returns the first."""
    clip = efface.load(base)
    made = convert(clip, to, tmp_path / "there")
    assert made.largest_logit_difference < 1e-4 < made.allowed_logit_difference
    assert (made.came, made.to, made.folder) == (back, to, str(tmp_path / "there"))
    convert(efface.load(tmp_path / "there"), back, tmp_path / "back")
    before, after = clip.stored_state(), efface.load(tmp_path / "back").stored_state()
    for name, tensor in before.items():
        # Of open_clip's two classes of models, the one without a part for the text tower comes back.
        same = after[name.removeprefix("text.")] if name not in after else after[name]
        assert same.dtype == tensor.dtype
        assert torch.equal(same, tensor)
    for out in ("there", "back"):
        assert len({path.stat().st_mode for path in (tmp_path / out).iterdir()}) == 1, "all can be read by the same"
    return tmp_path / "there"


@pytest.mark.parametrize("kind", list(OURS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_model_of_transformers_is_the_same_in_open_clip(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    base = OURS[kind](tmp_path / "base", dtype=dtype)
    folder = there_and_back(base, tmp_path, "open_clip", "transformers")
    torch.testing.assert_close(by_open_clip(folder), by_transformers(base), atol=1e-3, rtol=0)


def test_a_siglip_2_reads_texts_in_lower_case_in_either_format(tmp_path: Path) -> None:
    base = write_siglip(tmp_path / "base", version=2)
    folder = there_and_back(base, tmp_path, "open_clip", "transformers")
    written = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    assert written["model_cfg"]["text_cfg"]["tokenizer_kwargs"] == {"clean": "lower"}
    texts = ["A photo, of a CAT.", "a photo, of a cat."]
    expected = efface.load(base).tokenize(texts)
    assert torch.equal(expected[0], expected[1])
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{folder}")(texts), expected)
    # On the way back the tokenizer itself is told, so that transformers alone reads so too.
    alone = AutoTokenizer.from_pretrained(tmp_path / "back")
    assert torch.equal(alone(texts, padding="max_length", max_length=64, return_tensors="pt")["input_ids"], expected)
    convert(efface.load(tmp_path / "back"), "open_clip", tmp_path / "again")
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'again'}")(texts), expected)


@pytest.mark.parametrize("kind", list(THEIRS))
def test_a_model_of_open_clip_is_the_same_in_transformers(tmp_path: Path, kind: str) -> None:
    base = write_open_clip(tmp_path / "base", THEIRS[kind], dtype=torch.float16)
    folder = there_and_back(base, tmp_path, "transformers", "open_clip")
    # The two libraries resize in other steps: some pixels are a level of 255 apart.
    torch.testing.assert_close(by_transformers(folder), by_open_clip(base), atol=0.05, rtol=0)
    assert {p.dtype for p in AutoModel.from_pretrained(folder, dtype="auto").parameters()} == {torch.float16}


@pytest.mark.parametrize(("kind", "name", "number"), [("worded", "bicubic", 3), ("siglip", "bilinear", 2)])
def test_the_filter_that_resizes_is_kept_both_ways(tmp_path: Path, kind: str, name: str, number: int) -> None:
    base = write_open_clip(tmp_path / "base", THEIRS[kind])
    written = json.loads((base / "open_clip_config.json").read_text(encoding="utf-8"))
    reads = {**written["preprocess_cfg"], "interpolation": name}
    folder = there_and_back(
        changed(base, "open_clip_config.json", preprocess_cfg=reads), tmp_path, "transformers", "open_clip"
    )
    assert AutoImageProcessor.from_pretrained(folder).resample == number
    back = json.loads((tmp_path / "back" / "open_clip_config.json").read_text(encoding="utf-8"))
    assert back["preprocess_cfg"]["interpolation"] == name
    torch.testing.assert_close(by_transformers(folder), by_open_clip(base), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", list(OURS))
def test_another_filter_is_above_the_bound(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_open_clip, "INTERPOLATIONS", {2: "bicubic", 3: "bilinear"})
    with pytest.raises(InputError, match=r"a prepared pixel of .* would differ by \d+ of 255, and 4 of 255"):
        convert(efface.load(OURS[kind](tmp_path / "base")), "open_clip", tmp_path / "out")


@pytest.mark.parametrize(
    "config",
    [
        {**WORDED, "quick_gelu": False},
        with_text(
            with_image({**WORDED, "quick_gelu": False}, act_kwargs={"approximate": "tanh"}), norm_kwargs={"eps": 1e-3}
        ),
        with_image(WORDED, mlp_ratio=2.33),
    ],
    ids=["gelu", "tanh and eps", "odd ratio"],
)
def test_what_a_configuration_says_is_kept(tmp_path: Path, config: dict[str, Any]) -> None:
    there_and_back(write_open_clip(tmp_path / "base", config), tmp_path, "transformers", "open_clip")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (RESNET, "transformers has no CLIP with a ResNet: ResNets exist only in open_clip"),
        (with_image(VIT, no_ln_pre=True), "has no model with no_ln_pre = True"),
        (with_text(VIT, pool_type="last"), "cannot read texts at 'last'"),
        ({**VIT, "init_logit_bias": -10}, "tensor 'logit_bias' has no place in the format of transformers"),
        (with_text(SIGLIP, no_causal_mask=False), "has no model with no_causal_mask = False"),
        (with_image(SIGLIP, timm_proj="linear"), "tensor 'visual.head.proj.weight' has no place"),
    ],
)
def test_what_transformers_has_no_word_for_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], text: str
) -> None:
    clip = efface.load(write_open_clip(tmp_path / "base", config))
    with pytest.raises(InputError, match=text):
        convert(clip, "transformers", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def changed(folder: Path, name: str, **more: Any) -> Path:
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(document | more), encoding="utf-8")
    return folder


def test_a_clip_that_crops_nothing_crops_nothing_in_transformers(tmp_path: Path) -> None:
    reads = {**PREPROCESS, "resize_mode": "squash"}
    base = changed(write_open_clip(tmp_path / "base", WORDED), "open_clip_config.json", preprocess_cfg=reads)
    folder = there_and_back(base, tmp_path, "transformers", "open_clip")
    torch.testing.assert_close(by_transformers(folder), by_open_clip(base), atol=0.05, rtol=0)
    assert (by_open_clip(base) - by_open_clip(write_open_clip(tmp_path / "crops", WORDED))).abs().max() > 0.1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"size": {"shortest_edge": 40}}, "cannot prepare images as the model's processor does"),
        ({"resample": 0}, "cannot resize images by Pillow's filter 0"),
    ],
)
def test_what_open_clip_cannot_prepare_is_refused(tmp_path: Path, more: dict[str, Any], text: str) -> None:
    clip = efface.load(changed(write_transformers(tmp_path / "base"), "preprocessor_config.json", **more))
    with pytest.raises(InputError, match=text):
        convert(clip, "open_clip", tmp_path / "out")


def test_a_siglip_that_timm_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    clip = efface.load(write_siglip(tmp_path / "base"))
    monkeypatch.setattr(timm, "list_models", lambda _: [])
    with pytest.raises(InputError, match="timm has no SigLIP tower of 2 blocks of width 32 for images of 32 pixels"):
        convert(clip, "open_clip", tmp_path / "out")


def test_another_activation_of_timms_tower_is_told(tmp_path: Path) -> None:
    folder = changed(write_siglip(tmp_path / "base"), "config.json")
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    document["vision_config"]["hidden_act"] = "gelu"
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.warns(EffaceWarning, match="vit_tiny_patch8_siglip_32.* has another activation than the model's gelu"):
        made = convert(efface.load(folder), "open_clip", tmp_path / "out")
    assert 1e-6 < made.largest_logit_difference < 0.01


def test_a_difference_above_the_bound_leaves_nothing(tmp_path: Path) -> None:
    # The same shapes and weights with another activation, which timm's tower of that name does not have.
    folder = changed(write_siglip(tmp_path / "base"), "config.json")
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    document["vision_config"]["hidden_act"] = "relu"
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    told = r"a logit of .* would differ by .*, and 0.01 is allowed; nothing was left"
    with pytest.raises(InputError, match=told), pytest.warns(EffaceWarning, match="another activation"):
        convert(efface.load(folder), "open_clip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_pixels_above_the_bound_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = efface.load(write_transformers(tmp_path / "base"))
    monkeypatch.setattr(module, "LEVELS", -1.0)
    with pytest.raises(InputError, match=r"a prepared pixel of .* of 255, and -1 of 255 is allowed"):
        convert(clip, "open_clip", tmp_path / "out")


def test_in_its_own_format_a_model_is_written_as_it_is(tmp_path: Path) -> None:
    base = write_transformers(tmp_path / "base", dtype=torch.float16)
    (base / "classnames.txt").write_text("cat\ndog\n", encoding="utf-8")
    made = convert(efface.load(base), "transformers", tmp_path / "out")
    assert made.largest_logit_difference == made.largest_pixel_difference == 0
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == (base / "model.safetensors").stat().st_size
    there = efface.convert(efface.load(base), "open_clip", tmp_path / "there")
    assert (tmp_path / "there" / "classnames.txt").read_text(encoding="utf-8") == "cat\ndog\n"
    assert json.loads(there.to_json())["weights"] == there.weights


def test_formats_and_folders_that_cannot_be_are_refused(tmp_path: Path) -> None:
    clip = efface.load(write_transformers(tmp_path / "base"))
    with pytest.raises(InputError, match="there is no format 'openclip'") as caught:
        convert(clip, "openclip", tmp_path / "out")
    assert caught.value.hint == "did you mean open_clip?"
    with pytest.raises(InputError, match="base exists"):
        convert(clip, "open_clip", tmp_path / "base")


def test_the_fixed_logits_are_always_the_same_and_tell_models_apart(tmp_path: Path) -> None:
    one, other = (efface.load(write_transformers(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert torch.equal(fixed_logits(one), fixed_logits(one))
    assert fixed_logits(one).shape == (4, 6)
    assert (fixed_logits(one) - fixed_logits(other)).abs().max() > 1
    assert one.encoder.pixels.height == SIZE
