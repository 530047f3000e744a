import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from efface.backends import load, save
from efface.backends.base import LoadedCLIP
from efface.errors import InputError
from efface.types import DualEncoder
from tests.backends.chains import is_chain
from tests.tiny_open_clip import CONFIGS, PREPROCESS, RESNET, SIGLIP, VIT, write_open_clip

TEXTS = ["a photo of a cat.", "a photo of a dog."]
kinds = pytest.mark.parametrize("kind", list(CONFIGS))


def images(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def written(tmp_path: Path, kind: str, dtype: torch.dtype = torch.float32) -> LoadedCLIP:
    return load(f"local-dir:{write_open_clip(tmp_path / 'base', CONFIGS[kind], dtype=dtype)}")


@torch.no_grad()
def upstream_logits(folder: Path) -> torch.Tensor:
    """What open_clip alone makes of a folder."""
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    image, text = model.encode_image(images(), normalize=True), model.encode_text(tokens, normalize=True)
    logits: torch.Tensor = model.logit_scale.exp() * image @ text.T
    return logits


@torch.no_grad()
def our_logits(clip: LoadedCLIP) -> torch.Tensor:
    encoder: DualEncoder = clip.encoder
    return encoder.logit_scale * encoder.encode_image(images()) @ encoder.encode_text(clip.tokenize(TEXTS)).T


@kinds
def test_a_loaded_model_gives_the_logits_of_open_clip(tmp_path: Path, kind: str) -> None:
    clip = written(tmp_path, kind)
    torch.testing.assert_close(our_logits(clip), upstream_logits(tmp_path / "base"), atol=1e-5, rtol=0)
    assert not clip.encoder.module.training


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_edited_model_loads_in_open_clip_alone_with_equal_logits(
    tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    clip = written(tmp_path, kind, dtype).copy()
    with torch.no_grad():
        for group in (*clip.encoder.weights("image")[-2:], *clip.encoder.weights("text")[-2:]):
            group.parameters[0].add_(0.05)
    clip.round_to_stored_()
    save(clip, tmp_path / "out")
    torch.testing.assert_close(our_logits(clip), upstream_logits(tmp_path / "out"), atol=1e-5, rtol=0)
    assert (our_logits(clip) - upstream_logits(tmp_path / "base")).abs().max() > 1e-3


@kinds
def test_an_untouched_model_is_written_bit_for_bit(tmp_path: Path, kind: str) -> None:
    clip = written(tmp_path, kind, torch.float16)
    save(clip, tmp_path / "out")
    base, out = (load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("base", "out"))
    assert base.keys() == out.keys()
    assert all(base[n].dtype == out[n].dtype and torch.equal(base[n], out[n]) for n in base)


def test_small_files_are_carried_over_and_weights_and_card_of_the_base_are_not(tmp_path: Path) -> None:
    base = write_open_clip(tmp_path / "base", VIT)
    for name in ("tokenizer.json", "merges.txt", "README.md", "pytorch_model.bin", "x.safetensors.index.json"):
        (base / name).write_text("{}", encoding="utf-8")
    (base / "open_clip_config.json").chmod(0o400)
    save(load(f"local-dir:{base}"), tmp_path / "out")
    held = {p.name for p in (tmp_path / "out").iterdir()}
    modes = {p.stat().st_mode for p in (tmp_path / "out").iterdir()}
    assert modes == {(base / "README.md").stat().st_mode}, "every file gets the rights that any new file gets"
    assert held == {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "merges.txt"}


@kinds
def test_features_are_unit_embeddings_in_float32(tmp_path: Path, kind: str) -> None:
    encoder = written(tmp_path, kind).encoder
    features, embeddings = encoder.encode_image(images()), encoder.embed_image(images())
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(features * embeddings.norm(dim=-1, keepdim=True), embeddings)
    assert features.dtype == torch.float32


def test_bf16_computes_in_bf16_and_hands_out_float32(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "base", VIT)
    half, full = (load(f"local-dir:{folder}", precision=p).encoder for p in ("bf16", "fp32"))
    assert half.embed_image(images()).dtype == torch.float32
    difference = (half.embed_image(images()) - full.embed_image(images())).abs().max()
    assert 0 < difference < 0.1
    assert all(p.dtype == torch.float32 for p in half.module.parameters())


@kinds
def test_every_parameter_belongs_to_one_tower_but_the_scale(tmp_path: Path, kind: str) -> None:
    encoder = written(tmp_path, kind).encoder
    grouped = [id(p) for tower in ("image", "text") for g in encoder.weights(tower) for p in g.parameters]
    assert len(grouped) == len(set(grouped))
    rest = [name for name, p in encoder.module.named_parameters() if id(p) not in set(grouped)]
    assert rest == (["logit_scale", "logit_bias"] if kind == "siglip" else ["logit_scale"])


def test_a_resnet_has_eight_pool_projections_and_marks_batch_norm(tmp_path: Path) -> None:
    groups = written(tmp_path, "resnet").encoder.weights("image")
    pool = [g.name.removeprefix("visual.attnpool.") for g in groups if g.part == "pool"]
    assert sorted(pool) == sorted(f"{p}_proj.{kind}" for p in "kqvc" for kind in ("weight", "bias"))
    # 3 in the stem, 3 in each of 4 blocks, one in each of 4 shortcuts; a scale and a shift each.
    assert sum(g.is_batch_norm for g in groups) == 2 * (3 + 3 * 4 + 4)
    assert [g.part for g in groups if "positional" in g.name] == ["embedding"]


def test_a_transformer_has_twelve_tensors_a_block_and_eight_outside(tmp_path: Path) -> None:
    encoder = written(tmp_path, "vit").encoder
    image = encoder.weights("image")
    assert sum(g.part == "blocks" for g in image) == 12 * 2
    assert len(image) == 12 * 2 + 8  # two embeddings, patches, two norms of two, projection
    assert sum(g.part == "blocks" for g in encoder.weights("text")) == 12


@kinds
def test_each_block_starts_from_what_the_one_before_put_out(tmp_path: Path, kind: str) -> None:
    encoder = written(tmp_path, kind).encoder
    assert is_chain(encoder, images())
    # A ResNet's four stages and its attention pool; a transformer's blocks.
    assert len(encoder.image_blocks()) == (5 if kind == "resnet" else 2)


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind != "siglip"])
def test_a_folded_map_maps_every_embedding(tmp_path: Path, kind: str) -> None:
    encoder = written(tmp_path, kind).encoder
    before = encoder.embed_image(images())
    matrix = torch.randn(24, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    encoder.fold_image_map_(matrix)
    torch.testing.assert_close(encoder.embed_image(images()), before @ matrix.float(), atol=1e-4, rtol=1e-4)


def linear(**config: Any) -> dict[str, Any]:
    """A tower of timm's with a linear map at its end."""
    return {**SIGLIP, "vision_cfg": {**SIGLIP["vision_cfg"], **config}}


@pytest.mark.parametrize(
    "config", [{"timm_proj": "linear"}, {"timm_proj": "linear", "timm_proj_bias": True}, {"timm_proj": ""}]
)
def test_a_map_is_folded_into_the_last_layer_of_a_tower_of_timms(tmp_path: Path, config: dict[str, Any]) -> None:
    encoder = load(write_open_clip(tmp_path / "base", linear(**config))).encoder
    before = encoder.embed_image(images())
    matrix = torch.randn(32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    encoder.fold_image_map_(matrix)
    torch.testing.assert_close(encoder.embed_image(images()), before @ matrix.float(), atol=1e-4, rtol=1e-4)
    assert encoder.weights("image")[-1].part == "projection"


def test_siglips_pool_is_one_group_of_query_key_and_value_and_takes_no_map(tmp_path: Path) -> None:
    encoder = written(tmp_path, "siglip").encoder
    pool = [g for g in encoder.weights("image") if g.part == "pool"]
    assert len(pool) == 11
    (qkv,) = (g for g in pool if g.name == "visual.trunk.attn_pool.in_proj_weight")
    assert [tuple(p.shape) for p in qkv.parameters] == [(32, 32), (64, 32)]
    with pytest.raises(InputError, match="TimmModel does not end in a linear map"):
        encoder.fold_image_map_(torch.eye(32, dtype=torch.float64))


def test_a_tower_without_a_last_linear_map_is_refused(tmp_path: Path) -> None:
    encoder = written(tmp_path, "vit").encoder
    encoder.module.visual.proj = None  # type: ignore[union-attr]
    with pytest.raises(InputError, match="VisionTransformer does not end in a linear map"):
        encoder.fold_image_map_(torch.eye(24, dtype=torch.float64))


def test_preprocessing_is_open_clips_own(tmp_path: Path) -> None:
    clip = written(tmp_path, "vit")
    picture = Image.effect_noise((50, 40), 60).convert("RGB")
    _, _, upstream = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'base'}")
    assert torch.equal(clip.preprocess(picture), upstream(picture))
    pixels = clip.encoder.pixels
    assert (list(pixels.mean), list(pixels.std), pixels.height) == (PREPROCESS["mean"], PREPROCESS["std"], 32)


# Named models: a small architecture and a tag are registered for the test, as open_clip registers its own.


@pytest.fixture
def tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model ``efface-tiny`` with weights ``plain`` and, trained with QuickGELU, ``quick``."""
    base = write_open_clip(tmp_path / "base", VIT)
    weights = str(base / "open_clip_model.safetensors")
    config: dict[str, Any] = {k: v for k, v in VIT.items() if k != "quick_gelu"}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "efface-tiny", config)
    cfg = {"file": weights, "mean": PREPROCESS["mean"], "std": PREPROCESS["std"], "interpolation": "bilinear"}
    tags = {"plain": cfg, "quick": {**cfg, "quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "efface-tiny", tags)
    return base


def test_a_tag_trained_with_quick_gelu_turns_it_on_and_a_saved_folder_keeps_it(tagged: Path, tmp_path: Path) -> None:
    quick, plain = load("efface-tiny:quick"), load("efface-tiny:plain")
    torch.testing.assert_close(our_logits(quick), upstream_logits(tagged), atol=1e-5, rtol=0)
    assert (our_logits(plain) - our_logits(quick)).abs().max() > 1e-3
    for clip, name in ((quick, "q"), (plain, "p")):
        save(clip, tmp_path / name)
        torch.testing.assert_close(our_logits(clip), upstream_logits(tmp_path / name), atol=1e-5, rtol=0)
    config = json.loads((tmp_path / "q" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] is True
    assert config["preprocess_cfg"]["mean"] == PREPROCESS["mean"]


def test_a_named_model_loads_weights_from_a_file(tagged: Path) -> None:
    clip = load(f"efface-tiny:{tagged / 'open_clip_model.safetensors'}")
    assert clip.encoder.embed_image(images()).shape == (3, 24)


def test_unknown_names_and_tags_are_answered_with_what_there_is(tagged: Path) -> None:
    with pytest.raises(InputError, match="open_clip has no model 'ViT-B-23'") as caught:
        load("ViT-B-23:openai")
    assert "ViT-B-32" in caught.value.hint
    with pytest.raises(InputError, match="no weights 'xyzzy' for efface-tiny") as caught:
        load("efface-tiny:xyzzy")
    assert caught.value.hint == "its tags are plain, quick"
    with pytest.raises(InputError) as caught:
        load("efface-tiny:quik")
    assert caught.value.hint == "did you mean quick? its tags are plain, quick"


# Folders that cannot be loaded


def test_a_run_folder_is_answered_with_its_model(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "run" / "model", VIT)
    with pytest.raises(InputError) as caught:
        load(f"local-dir:{tmp_path / 'run'}")
    assert caught.value.hint == f"write local-dir:{tmp_path / 'run' / 'model'}"


def test_missing_folders_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load(f"local-dir:{tmp_path / 'none'}")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"has no open_clip_config.json: it holds notes.txt"):
        load(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("config", "text"), [("{", "is not JSON"), ("{}", "has no 'model_cfg'"), ("[]", "has no 'model_cfg'")]
)
def test_a_broken_configuration_is_named(tmp_path: Path, config: str, text: str) -> None:
    (tmp_path / "open_clip_config.json").write_text(config)
    with pytest.raises(InputError, match=text):
        load(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("std", [[1, 1], ["a", 1, 1], [0, 1, 1]])
def test_a_preprocessing_that_makes_no_input_is_refused_before_the_work(tmp_path: Path, std: list[Any]) -> None:
    folder = write_open_clip(tmp_path / "model", VIT)
    document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    document["preprocess_cfg"]["std"] = std
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="could not be loaded"):
        load(f"local-dir:{folder}")


def test_a_folder_without_weights_is_refused_rather_than_random(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "base", VIT)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load(f"local-dir:{folder}")


def test_weights_of_another_shape_truncated_or_not_finite_are_refused(tmp_path: Path) -> None:
    vit, resnet = (write_open_clip(tmp_path / n, c) for n, c in (("vit", VIT), ("resnet", RESNET)))
    weights = vit / "open_clip_model.safetensors"
    good = load_file(weights)
    save_file({**good, "logit_scale": torch.tensor(float("nan"))}, weights)
    with pytest.raises(InputError, match="'logit_scale' first"):
        load(f"local-dir:{vit}")
    shutil.copy(resnet / "open_clip_model.safetensors", weights)
    with pytest.raises(InputError, match="could not be loaded"):
        load(f"local-dir:{vit}")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="could not be loaded"):
        load(f"local-dir:{vit}")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "base", VIT)
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": Path}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match="a pickle that holds more than tensors"):
        load(f"local-dir:{folder}")
