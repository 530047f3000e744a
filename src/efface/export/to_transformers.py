"""A model of open_clip as a folder of transformers: configuration, tokenizer, image processor and weights."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import open_clip
from timm.models import VisionTransformer

from efface.backends.base import LoadedCLIP, save_tokenizer, write_weights
from efface.backends.transformers_config import CONFIG, WEIGHTS
from efface.errors import InputError
from efface.export.layouts import NO_EXPORT, clip_rules, converted, siglip_rules
from efface.export.to_open_clip import EPS, INTERPOLATIONS, activation

# What a tower of open_clip's may say; in all else it must be as usual, since transformers has no word for it.
IMAGE = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout"}
TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id", "eos_id"}
TOKENIZER = {"hf_tokenizer_name", "tokenizer_kwargs"}
CLEANED = ("canonicalize", "lower")
"""The ways of open_clip's to clean texts that transformers' tokenizers have to be told."""
BOTH = {"act_kwargs", "norm_kwargs"}
# A text tower of SigLIP's sees all of a text, reads its output at the last place, and has a bias in its last map.
SIGLIP = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}


def write_transformers(clip: LoadedCLIP, folder: Path) -> None:
    """Writes a folder that transformers loads by its path.

    Raises:
        InputError: If transformers has no such model, or cannot prepare texts or images so.
    """
    given: Mapping[str, Any] = clip.config["model_cfg"]
    text = open_clip.CLIPTextCfg(**given["text_cfg"])
    is_siglip = bool(given["vision_cfg"].get("timm_model_name"))
    (_check_siglip if is_siglip else _check_clip)(clip, text)
    state = clip.stored_state()
    state = converted(state, (siglip_rules if is_siglip else clip_rules)(state, "open_clip"), "transformers")
    tokenizer = _write_tokenizer(clip, text, folder)
    config = _siglip(clip, text) if is_siglip else _clip(clip, text, tokenizer)
    dtypes = Counter(str(t.dtype).removeprefix("torch.") for t in state.values())
    config.dtype = dtypes.most_common(1)[0][0]  # what plain from_pretrained goes by
    config.save_pretrained(folder)
    _write_processor(clip, folder, is_siglip=is_siglip)
    write_weights(state, folder / WEIGHTS, like=folder / CONFIG)


def _check_clip(clip: LoadedCLIP, text: Any) -> None:
    image = open_clip.CLIPVisionCfg(**clip.config["model_cfg"]["vision_cfg"])
    if isinstance(image.layers, list | tuple):
        raise InputError(
            "the image tower is a ResNet, and transformers has no CLIP with a ResNet: ResNets exist only in open_clip",
            hint="leave it in the format of open_clip",
        )
    _as_usual(image, IMAGE | BOTH, {})
    _as_usual(text, TEXT | BOTH | TOKENIZER | {"pool_type"}, {})
    if text.pool_type not in ("argmax", "eos"):
        raise InputError(f"transformers' CLIP cannot read texts at {text.pool_type!r}", hint=NO_EXPORT)


def _check_siglip(clip: LoadedCLIP, text: Any) -> None:
    trunk = clip.encoder.module.visual.trunk  # type: ignore[union-attr]
    if not isinstance(trunk, VisionTransformer) or getattr(trunk, "attn_pool", None) is None:
        raise InputError(f"transformers has no model with timm's {type(trunk).__name__} as image tower", hint=NO_EXPORT)
    _as_usual(text, TEXT | BOTH | TOKENIZER, SIGLIP)


def _clip(clip: LoadedCLIP, text: Any, tokenizer: Any) -> Any:
    from transformers import CLIPConfig

    given: Mapping[str, Any] = clip.config["model_cfg"]
    image = open_clip.CLIPVisionCfg(**given["vision_cfg"])
    end = text.eos_id if text.pool_type == "eos" else tokenizer.eos_token_id
    quick = given.get("quick_gelu", False)
    return CLIPConfig(
        architectures=["CLIPModel"],
        projection_dim=given["embed_dim"],
        vision_config={
            **_tower(image, quick),
            "num_attention_heads": image.width // image.head_width,
            "patch_size": image.patch_size,
            "image_size": clip.encoder.pixels.height,
            "projection_dim": given["embed_dim"],
        },
        text_config={
            **_tower(text, quick),
            **_words(text),
            "projection_dim": given["embed_dim"],
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": end,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )


def _siglip(clip: LoadedCLIP, text: Any) -> Any:
    from transformers import SiglipConfig

    trunk: Any = clip.encoder.module.visual.trunk  # type: ignore[union-attr]
    block: Any = trunk.blocks[0]
    return SiglipConfig(
        architectures=["SiglipModel"],
        vision_config={
            "hidden_size": trunk.embed_dim,
            "intermediate_size": block.mlp.fc1.out_features,
            "num_hidden_layers": len(trunk.blocks),
            "num_attention_heads": block.attn.num_heads,
            "hidden_act": activation(block.mlp.act),
            "layer_norm_eps": block.norm1.eps,
            "patch_size": trunk.patch_embed.patch_size[0],
            "image_size": clip.encoder.pixels.height,
        },
        text_config={
            **_tower(text, quick=clip.config["model_cfg"].get("quick_gelu", False)),
            **_words(text),
            "projection_size": clip.config["model_cfg"]["embed_dim"],
            "pad_token_id": text.pad_id,
            "bos_token_id": None,
            "eos_token_id": None,
        },
    )


def _as_usual(tower: Any, known: set[str], wanted: Mapping[str, Any]) -> None:
    """Refuses a tower with something that transformers has no word for.

    Raises:
        InputError: It names the first such value.
    """
    for field in fields(tower):
        value, usual = getattr(tower, field.name), wanted.get(field.name, field.default)
        if field.name not in known and not field.name.startswith(("timm_", "hf_model_pre")) and value != usual:
            raise InputError(
                f"transformers has no model with {field.name} = {value!r} (it is {usual!r} there)", hint=NO_EXPORT
            )


def _tower(tower: Any, quick: bool) -> dict[str, Any]:
    """What transformers says of either tower of open_clip's own."""
    plain = {None: "gelu", "none": "gelu", "tanh": "gelu_pytorch_tanh"}
    return {
        "hidden_size": tower.width,
        "intermediate_size": int(tower.width * tower.mlp_ratio),
        "num_hidden_layers": tower.layers,
        "hidden_act": "quick_gelu" if quick else plain[(tower.act_kwargs or {}).get("approximate")],
        "layer_norm_eps": (tower.norm_kwargs or {}).get("eps", EPS),
    }


def _words(text: Any) -> dict[str, Any]:
    return {
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.context_length,
        "num_attention_heads": text.heads,
    }


def _write_tokenizer(clip: LoadedCLIP, text: Any, folder: Path) -> Any:
    """Writes the tokenizer, and returns it as transformers reads it back."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    held = getattr(clip.tokenize, "tokenizer", None)
    if held is None:
        _write_openai_tokenizer(clip.tokenize, folder)
        held = AutoTokenizer.from_pretrained(folder)
    clean = (text.tokenizer_kwargs or {}).get("clean")
    if clean in CLEANED and hasattr(held, "backend_tokenizer"):
        held = PreTrainedTokenizerFast(
            tokenizer_object=_cleaned(held.backend_tokenizer, clean),
            padding_side=held.padding_side,
            **{name: str(token) for name, token in held.special_tokens_map.items() if isinstance(token, str)},
        )
    held.model_max_length = text.context_length
    save_tokenizer(held, folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _cleaned(tokenizer: Any, clean: str) -> Any:
    """The tokenizer after a cleaning of open_clip's: no capitals, single spaces, and for SigLIP no punctuation."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.normalizers import Lowercase, Replace, Sequence, Strip

    made = Tokenizer.from_str(tokenizer.to_str())
    marks = [Replace("_", " "), Replace(Regex(r"[!-/:-@\[-`{-~]"), "")] if clean == "canonicalize" else []
    steps = [*marks, Lowercase(), Replace(Regex(r"\s+"), " "), Strip()]
    made.normalizer = Sequence([*steps, made.normalizer] if made.normalizer is not None else steps)
    return made


def _write_openai_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes OpenAI's vocabulary, which open_clip brings, in the two files that transformers reads it from."""
    vocabulary = dict(tokenizer.encoder)
    for theirs, ours in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
        vocabulary[ours] = vocabulary.pop(theirs)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in tokenizer.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    end = "<|endoftext|>"
    document = {"tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", "eos_token": end}
    document |= {"unk_token": end, "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(document), encoding="utf-8")


def _write_processor(clip: LoadedCLIP, folder: Path, *, is_siglip: bool) -> None:
    from transformers import CLIPImageProcessor, SiglipImageProcessor

    visual: Any = clip.encoder.module.visual
    pixels, given = clip.encoder.pixels, visual.preprocess_cfg
    resample = {name: number for number, name in INTERPOLATIONS.items()}.get(given.get("interpolation"))
    whole = {"height": pixels.height, "width": pixels.width}
    sizes: dict[str, dict[str, Any]] = {
        "shortest": {"size": {"shortest_edge": pixels.height}, "crop_size": whole},
        "squash": {"size": whole, "do_center_crop": False},
    }
    mode = given.get("resize_mode")
    if resample is None or mode not in sizes or pixels.height != pixels.width:
        raise InputError(
            f"transformers cannot prepare images by {given.get('interpolation')!r}, {mode!r}, to "
            f"{pixels.height} x {pixels.width} pixels",
            hint=NO_EXPORT,
        )
    reads = {"resample": resample, "image_mean": list(pixels.mean), "image_std": list(pixels.std)}
    # Version 4 takes the processor that goes with the model, whatever its file says; SigLIP's crops nothing.
    if is_siglip and mode == "squash":
        SiglipImageProcessor(size=whole, **reads).save_pretrained(folder)
    else:
        CLIPImageProcessor(**sizes[mode], **reads).save_pretrained(folder)
