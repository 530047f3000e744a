import json
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, AutoTokenizer, CLIPModel, SiglipModel

from efface.backends import load, save
from efface.backends.base import CLIPBackend, LoadedCLIP, digest
from efface.backends.transformers import TransformersBackend
from efface.errors import InputError
from efface.types import DualEncoder, PixelSpace, Tower
from tests.backends.chains import is_chain
from tests.tiny_transformers import CONTEXT, DIM, SIZE, SPECIAL, WIDTH, WORDS, write_siglip, write_transformers

TEXTS = ["A photo of a cat.", "a small red dog", "one fox, one cat"]
TOWERS: tuple[Tower, Tower] = ("image", "text")
WEIGHTS = "model.safetensors"


def images(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def written(tmp_path: Path, dtype: torch.dtype = torch.float32) -> LoadedCLIP:
    return load(write_transformers(tmp_path / "base", dtype=dtype))


@torch.no_grad()
def upstream_logits(folder: Path) -> torch.Tensor:
    """What transformers alone makes of a folder, with padding no longer than it needs and a mask for it."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    logits: torch.Tensor = model(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=images()
    ).logits_per_image
    return logits


@torch.no_grad()
def our_logits(clip: LoadedCLIP) -> torch.Tensor:
    encoder: DualEncoder = clip.encoder
    return encoder.logit_scale * encoder.encode_image(images()) @ encoder.encode_text(clip.tokenize(TEXTS)).T


@torch.no_grad()
def edit_(clip: LoadedCLIP) -> None:
    for tower in TOWERS:
        groups = clip.encoder.weights(tower)
        (qkv,) = (g for g in groups if g.name.endswith("layers.1.self_attn.in_proj_weight"))
        for parameter in (*qkv.parameters, *groups[-1].parameters):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)), alpha=0.1)


def test_backend_and_encoder_keep_their_protocols(tmp_path: Path) -> None:
    backend: CLIPBackend = TransformersBackend()
    assert isinstance(backend, CLIPBackend)
    assert isinstance(written(tmp_path).encoder, DualEncoder)


def test_a_loaded_model_gives_the_logits_of_transformers(tmp_path: Path) -> None:
    clip = written(tmp_path)
    torch.testing.assert_close(our_logits(clip), upstream_logits(tmp_path / "base"), atol=1e-5, rtol=0)
    assert our_logits(clip).std() > 0.1, "texts and images are told apart"
    assert not clip.encoder.module.training
    assert (clip.library, clip.source) == ("transformers", str(tmp_path / "base"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_edited_model_loads_in_transformers_alone_with_equal_logits(tmp_path: Path, dtype: torch.dtype) -> None:
    clip = written(tmp_path, dtype).copy()
    edit_(clip)
    clip.round_to_stored_()
    save(clip, tmp_path / "out")
    torch.testing.assert_close(our_logits(clip), upstream_logits(tmp_path / "out"), atol=1e-5, rtol=0)
    assert (our_logits(clip) - upstream_logits(tmp_path / "base")).abs().max() > 1e-2
    plain = AutoModel.from_pretrained(tmp_path / "out", dtype="auto")
    assert type(plain).__name__ == "CLIPModel"
    assert {p.dtype for p in plain.parameters()} == {dtype}
    assert digest(plain.state_dict()) == digest(clip.stored_state())


def test_an_untouched_model_is_written_bit_for_bit(tmp_path: Path) -> None:
    clip = written(tmp_path, torch.float16)
    save(clip, tmp_path / "out")
    base, out = (load_file(tmp_path / name / WEIGHTS) for name in ("base", "out"))
    assert base.keys() == out.keys() == clip.stored_state().keys()
    assert all(base[n].dtype == out[n].dtype and torch.equal(base[n], out[n]) for n in base)


def test_dtypes_are_kept_tensor_by_tensor_and_weights_compute_in_float32(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "base", dtype=torch.float16)
    state = load_file(folder / WEIGHTS)
    save_file({**state, "logit_scale": state["logit_scale"].float()}, folder / WEIGHTS, metadata={"format": "pt"})
    clip = load(folder)
    assert {p.dtype for p in clip.encoder.module.parameters()} == {torch.float32}
    stored = clip.stored_state()
    assert {n for n, t in stored.items() if t.dtype == torch.float32} == {"logit_scale"}
    assert digest(stored) == digest(load_file(folder / WEIGHTS))


def test_small_files_are_carried_over_and_weights_and_card_of_the_base_are_not(tmp_path: Path) -> None:
    base = write_transformers(tmp_path / "base")
    for name in ("merges.txt", "README.md", "pytorch_model.bin", "model.safetensors.index.json"):
        (base / name).write_text("{}", encoding="utf-8")
    (base / "open_clip_config.json").write_text("{}", encoding="utf-8")
    save(load(base), tmp_path / "out")
    held = {p.name for p in (tmp_path / "out").iterdir()}
    small = {"config.json", "merges.txt", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    # Version 4 writes a fourth file of the tokenizer.
    assert held - {"special_tokens_map.json"} == {*small, WEIGHTS}
    modes = {p.stat().st_mode for p in (tmp_path / "out").iterdir()}
    assert modes == {(base / "README.md").stat().st_mode}, "every file gets the rights that any new file gets"


def test_a_saved_folder_loads_as_a_processor_and_again_as_a_base(tmp_path: Path) -> None:
    clip = written(tmp_path, torch.float16)
    save(clip, tmp_path / "out")
    again = load(tmp_path / "out")
    assert digest(again.stored_state()) == digest(clip.stored_state())
    assert again.config == clip.config
    picture = Image.effect_noise((50, 40), 60).convert("RGB")
    inputs = AutoProcessor.from_pretrained(tmp_path / "out")(
        text=TEXTS, images=picture, padding="max_length", max_length=CONTEXT, return_tensors="pt"
    )
    assert torch.equal(inputs["input_ids"], clip.tokenize(TEXTS))
    torch.testing.assert_close(inputs["pixel_values"][0], clip.preprocess(picture), atol=1e-5, rtol=0)


def test_what_stands_after_the_end_of_a_text_is_not_read(tmp_path: Path) -> None:
    clip = written(tmp_path)
    tokens = clip.tokenize(TEXTS)
    end = SPECIAL.index("<end>")
    assert (tokens == end).sum(dim=1).tolist() == [1, 1, 1]
    after = (tokens == end).cumsum(dim=1) - (tokens == end).long() > 0
    embeddings = clip.encoder.embed_text(tokens)
    other = clip.encoder.embed_text(tokens.masked_fill(after, 7))
    torch.testing.assert_close(other, embeddings, atol=1e-6, rtol=0)
    model = clip.encoder.module
    masked = model.text_model(input_ids=tokens, attention_mask=(~after).long()).pooler_output  # type: ignore[operator]
    torch.testing.assert_close(model.text_projection(masked), embeddings, atol=1e-6, rtol=0)  # type: ignore[operator]


def test_features_are_unit_embeddings_in_float32(tmp_path: Path) -> None:
    encoder = written(tmp_path).encoder
    features, embeddings = encoder.encode_image(images()), encoder.embed_image(images())
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(features * embeddings.norm(dim=-1, keepdim=True), embeddings)
    assert features.dtype == torch.float32
    assert encoder.device == torch.device("cpu")


def test_bf16_computes_in_bf16_and_hands_out_float32(tmp_path: Path) -> None:
    clip = written(tmp_path)
    half = load(tmp_path / "base", precision="bf16").encoder
    tokens = clip.tokenize(TEXTS)
    pairs = [
        (half.embed_image(images()), clip.encoder.embed_image(images())),
        (half.embed_text(tokens), clip.encoder.embed_text(tokens)),
    ]
    for low, full in pairs:
        assert low.dtype == torch.float32
        assert 0 < (low - full).abs().max() < 0.2
    assert all(p.dtype == torch.float32 for p in half.module.parameters())


def test_every_parameter_belongs_to_one_tower_but_the_scale(tmp_path: Path) -> None:
    encoder = written(tmp_path).encoder
    grouped = [id(p) for tower in TOWERS for g in encoder.weights(tower) for p in g.parameters]
    assert len(grouped) == len(set(grouped))
    rest = [name for name, p in encoder.module.named_parameters() if id(p) not in set(grouped)]
    assert rest == ["logit_scale"]


@pytest.mark.parametrize("write", [write_transformers, write_siglip])
def test_each_block_starts_from_what_the_one_before_put_out(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    encoder = load(write(tmp_path / "base")).encoder
    assert len(encoder.image_blocks()) == 2
    assert is_chain(encoder, images())


def test_query_key_and_value_are_one_group(tmp_path: Path) -> None:
    encoder = written(tmp_path).encoder
    groups = {g.name: g for tower in TOWERS for g in encoder.weights(tower)}
    attention = encoder.module.get_submodule("vision_model.encoder.layers.0.self_attn")
    for kind in ("weight", "bias"):
        group = groups[f"vision_model.encoder.layers.0.self_attn.in_proj_{kind}"]
        expected = [attention.get_parameter(f"{letter}_proj.{kind}") for letter in "qkv"]
        assert [id(p) for p in group.parameters] == [id(p) for p in expected]
        assert (group.part, group.is_batch_norm) == ("blocks", False)
    # 2 towers of 2 blocks; the other groups are one tensor each.
    assert sum(len(g.parameters) == 3 for g in groups.values()) == 2 * 2 * 2
    assert {len(g.parameters) for g in groups.values()} == {1, 3}


# The same weights in open_clip's layout, written out by hand from the two formats.

OUTSIDE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "text_projection.weight": "text_projection",
}
INSIDE = {"self_attn": "attn", "layer_norm": "ln_", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def in_open_clip(name: str) -> str:
    """What open_clip calls a group of ours."""
    for ours, theirs in (OUTSIDE | INSIDE).items():
        name = name.replace(ours, theirs)
    return name


def write_twin(clip: LoadedCLIP, folder: Path) -> Path:
    """A ``local-dir:`` folder with the weights of a tiny transformers model."""
    tower = {"width": WIDTH, "layers": 2, "mlp_ratio": 2}
    config = {
        "embed_dim": DIM,
        "quick_gelu": True,
        "vision_cfg": {**tower, "head_width": WIDTH // 2, "patch_size": 8, "image_size": SIZE},
        "text_cfg": {
            **tower,
            "heads": 2,
            "context_length": CONTEXT,
            "vocab_size": len(SPECIAL) + len(WORDS),
            "pool_type": "eos",
            "eos_id": SPECIAL.index("<end>"),
        },
    }
    groups = [g for t in TOWERS for g in clip.encoder.weights(t)]
    state = {in_open_clip(g.name): torch.cat([p.detach() for p in g.parameters]) for g in groups}
    for name in ("visual.proj", "text_projection"):
        state[name] = state[name].T.contiguous()
    model = open_clip.CLIP(**config)
    model.load_state_dict({**state, "logit_scale": clip.stored_state()["logit_scale"]}, strict=True)
    folder.mkdir()
    document = {"model_cfg": config, "preprocess_cfg": {"size": [SIZE, SIZE]}}
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_the_same_weights_in_open_clips_layout_are_the_same_model_in_the_same_groups(tmp_path: Path) -> None:
    clip = written(tmp_path)
    twin = load(f"local-dir:{write_twin(clip, tmp_path / 'twin')}")
    tokens = clip.tokenize(TEXTS)
    gradients: list[dict[str, list[float]]] = []
    for encoder in (clip.encoder, twin.encoder):
        image, text = encoder.embed_image(images()), encoder.embed_text(tokens)
        (image.square().sum() + text.square().sum()).backward()  # type: ignore[no-untyped-call]
        found = {}
        for group in (g for tower in TOWERS for g in encoder.weights(tower)):
            flat = torch.cat([p.grad.flatten() for p in group.parameters if p.grad is not None])
            found[in_open_clip(group.name), group.part] = [flat.abs().mean().item(), float(flat.numel())]
        gradients.append({f"{name} {part}": found[name, part] for name, part in sorted(found)})
    torch.testing.assert_close(
        clip.encoder.embed_image(images()), twin.encoder.embed_image(images()), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(clip.encoder.embed_text(tokens), twin.encoder.embed_text(tokens), atol=1e-5, rtol=0)
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    for name in ours:
        # A method ranks groups by their mean absolute gradient.
        assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


# SigLIP, and SigLIP 2 of fixed resolution

versions = pytest.mark.parametrize("version", [1, 2])


@torch.no_grad()
def siglip_logits(folder: Path) -> torch.Tensor:
    """What transformers alone makes of a folder, texts in lower case and padded as SigLIP 2 and SigLIP want them."""
    model = SiglipModel.from_pretrained(folder, dtype=torch.float32)
    texts = AutoTokenizer.from_pretrained(folder)(
        [text.lower() for text in TEXTS], padding="max_length", max_length=64, truncation=True, return_tensors="pt"
    )
    logits: torch.Tensor = model(input_ids=texts["input_ids"], pixel_values=images()).logits_per_image
    return logits


@versions
def test_a_siglip_gives_the_logits_of_transformers_less_the_bias(tmp_path: Path, version: int) -> None:
    clip = load(write_siglip(tmp_path / "base", version=version))
    assert clip.tokenize(["a", "a cat " * 99]).shape == (2, 64)
    torch.testing.assert_close(our_logits(clip) - 10, siglip_logits(tmp_path / "base"), atol=1e-5, rtol=0)
    assert clip.encoder.pixels == PixelSpace((0.5,) * 3, (0.5,) * 3, SIZE, SIZE)
    half = load(tmp_path / "base", precision="bf16").encoder.embed_image(images())
    assert 0 < (half - clip.encoder.embed_image(images())).abs().max() < 0.5


@versions
def test_an_edited_siglip_loads_in_transformers_alone(tmp_path: Path, version: int) -> None:
    clip = load(write_siglip(tmp_path / "base", version=version, dtype=torch.float16)).copy()
    edit_(clip)
    clip.round_to_stored_()
    save(clip, tmp_path / "out")
    torch.testing.assert_close(our_logits(clip) - 10, siglip_logits(tmp_path / "out"), atol=1e-5, rtol=0)
    base, out = (load_file(tmp_path / name / WEIGHTS) for name in ("base", "out"))
    moved = {name for name in base if not torch.equal(base[name], out[name])}
    edited = [g for tower in TOWERS for g in clip.encoder.weights(tower)]
    names = {id(p): name for name, p in clip.encoder.module.named_parameters()}
    assert moved == {
        names[id(p)]
        for g in edited
        if g.name.endswith("layers.1.self_attn.in_proj_weight") or g in (clip.encoder.weights(t)[-1] for t in TOWERS)
        for p in g.parameters
    }


def test_siglips_parts_are_its_pool_and_a_projection_of_texts(tmp_path: Path) -> None:
    encoder = load(write_siglip(tmp_path / "base")).encoder
    groups = [g for tower in TOWERS for g in encoder.weights(tower)]
    grouped = {id(p) for g in groups for p in g.parameters}
    assert [n for n, p in encoder.module.named_parameters() if id(p) not in grouped] == ["logit_scale", "logit_bias"]
    assert sum(g.part == "pool" for g in groups) == 11  # probe; in and out, norm, two layers, a weight and a bias each
    assert [g.name for g in groups if g.part == "projection"] == ["text_model.head.weight", "text_model.head.bias"]


def test_no_map_can_be_folded_into_siglips_head(tmp_path: Path) -> None:
    encoder = load(write_siglip(tmp_path / "base")).encoder
    with pytest.raises(
        InputError, match="SigLIP, an attention pool with a residual block, does not end in a linear"
    ) as e:
        encoder.fold_image_map_(torch.eye(WIDTH, dtype=torch.float64))
    assert e.value.hint.startswith("use --method lip")


def test_a_folded_map_maps_every_embedding(tmp_path: Path) -> None:
    encoder = written(tmp_path).encoder
    before = encoder.embed_image(images())
    matrix = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    encoder.fold_image_map_(matrix)
    torch.testing.assert_close(encoder.embed_image(images()), before @ matrix.float(), atol=1e-4, rtol=1e-4)


def test_a_copy_has_weights_of_its_own(tmp_path: Path) -> None:
    clip = written(tmp_path)
    before = digest(clip.stored_state())
    edit_(clip.copy())
    assert digest(clip.stored_state()) == before


def test_a_folder_may_be_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_transformers(tmp_path / "models" / "clip")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/models/clip").source == "~/models/clip"
    assert not TransformersBackend().accepts("~nobody-at-all/clip")
