"""A model of transformers as a folder of open_clip: configuration, tokenizer and weights."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from efface.backends.base import LoadedCLIP, save_tokenizer, write_weights
from efface.backends.open_clip_sources import WEIGHTS
from efface.errors import EffaceWarning, InputError
from efface.export.layouts import NO_EXPORT, clip_rules, converted, siglip_rules
from efface.open_clip_names import CONFIG

# What open_clip calls Pillow's ways to resize.
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
# open_clip's usual one.
EPS = 1e-5
TANH = {"approximate": "tanh"}
ACTIVATIONS: dict[str, dict[str, str]] = {"gelu": {}, "gelu_pytorch_tanh": TANH, "quick_gelu": {}}
"""What open_clip's activation is told, by what transformers calls it; QuickGELU is another one."""


def write_open_clip(clip: LoadedCLIP, folder: Path) -> None:
    """Writes a folder that open_clip loads as ``local-dir:FOLDER``.

    Raises:
        InputError: If open_clip has no such model, or cannot prepare images so.
    """
    config: Any = clip.encoder.model.config  # type: ignore[attr-defined]
    is_siglip = clip.config["model_type"] == "siglip"
    state = clip.stored_state()
    state = converted(state, (siglip_rules if is_siglip else clip_rules)(state, "transformers"), "open_clip")
    model = _siglip(config, state) if is_siglip else _clip(config)
    if clip.tokenize.lower:  # type: ignore[attr-defined]
        model["text_cfg"]["tokenizer_kwargs"] = {"clean": "lower"}
    document = {"model_cfg": model, "preprocess_cfg": _preprocess(clip)}
    (folder / CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_weights(state, folder / WEIGHTS, like=folder / CONFIG)
    save_tokenizer(clip.tokenize.tokenizer, folder)  # type: ignore[attr-defined]


def _clip(config: Any) -> dict[str, Any]:
    image, text = config.vision_config, config.text_config
    quick = {tower.hidden_act == "quick_gelu" for tower in (image, text)}
    if len(quick) > 1:
        raise InputError("one tower has QuickGELU and the other has not, which open_clip cannot say", hint=NO_EXPORT)
    # 2 stands in old configurations, where the largest id is the end of a text.
    is_largest = text.eos_token_id in (2, text.vocab_size - 1)
    end = {"pool_type": "argmax"} if is_largest else {"pool_type": "eos", "eos_id": text.eos_token_id}
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": quick == {True},
        "vision_cfg": {
            **_tower(image),
            "head_width": image.hidden_size // image.num_attention_heads,
            "patch_size": image.patch_size,
            "image_size": image.image_size,
        },
        "text_cfg": {**_text(text), **end},
    }


def _siglip(config: Any, state: dict[str, Tensor]) -> dict[str, Any]:
    image, text = config.vision_config, config.text_config
    return {
        "embed_dim": image.hidden_size,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": image.image_size,
            "timm_model_name": _timm_name(image, state),
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {**_text(text), "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    }


def _timm_name(image: Any, state: dict[str, Tensor]) -> str:
    """What timm calls the image tower: open_clip builds SigLIP's by that name alone.

    Of several whose weights have the same shapes, one with the same activation is preferred; where there is none, a
    warning says so, and the difference that it makes is measured with all else.
    """
    import timm

    start = "visual.trunk."
    shapes = {name.removeprefix(start): t.shape for name, t in state.items() if name.startswith(start)}
    names = timm.list_models([f"vit_*_patch{image.patch_size}_siglip_{image.image_size}*"])
    found: dict[bool, str] = {}
    for name in names:
        with torch.device("meta"):
            tower: Any = timm.create_model(name, num_classes=0, global_pool="map")
        if {n: t.shape for n, t in tower.state_dict().items()} == shapes:
            found.setdefault(activation(tower.blocks[0].mlp.act) == image.hidden_act, name)
    if not found:
        raise InputError(
            f"timm has no SigLIP tower of {image.num_hidden_layers} blocks of width {image.hidden_size} for images of "
            f"{image.image_size} pixels, and open_clip builds those of timm alone",
            hint="leave it in the format of transformers",
        )
    if True not in found:
        text = (
            f"the image tower of {found[False]}, which open_clip will build, has another activation than the model's "
        )
        warnings.warn(
            f"{text}{image.hidden_act}: the largest difference that it makes is told", EffaceWarning, stacklevel=5
        )
    return found.get(True) or found[False]


def activation(module: nn.Module) -> str:
    """What transformers calls an activation of torch's or timm's.

    Raises:
        InputError: If it has no name there.
    """
    is_tanh = type(module).__name__ == "GELUTanh" or getattr(module, "approximate", None) == "tanh"
    if is_tanh or isinstance(module, nn.GELU):
        return "gelu_pytorch_tanh" if is_tanh else "gelu"
    raise InputError(f"transformers has no name for the activation {type(module).__name__}", hint=NO_EXPORT)


def _text(text: Any) -> dict[str, Any]:
    return {
        "context_length": text.max_position_embeddings,
        "vocab_size": text.vocab_size,
        # Any name makes open_clip take the tokenizer in the folder instead of its own.
        "hf_tokenizer_name": "here",
        **_tower(text),
        "heads": text.num_attention_heads,
    }


def _tower(tower: Any) -> dict[str, Any]:
    """What open_clip says of either tower of its own."""
    if tower.hidden_act not in ACTIVATIONS:
        raise InputError(f"open_clip has no activation {tower.hidden_act!r}", hint=NO_EXPORT)
    width, inner = tower.hidden_size, tower.intermediate_size
    # open_clip cuts the product off to a whole number.
    ratio = inner / width if int(width * (inner / width)) == inner else (inner + 0.5) / width
    found = {"width": width, "layers": tower.num_hidden_layers, "mlp_ratio": ratio}
    if ACTIVATIONS[tower.hidden_act]:
        found["act_kwargs"] = ACTIVATIONS[tower.hidden_act]
    return found if tower.layer_norm_eps == EPS else {**found, "norm_kwargs": {"eps": tower.layer_norm_eps}}


def _preprocess(clip: LoadedCLIP) -> dict[str, Any]:
    """The preprocessing, as open_clip writes it."""
    processor: Any = clip.preprocess.processor  # type: ignore[attr-defined]
    pixels, size = clip.encoder.pixels, dict(processor.size)
    crop = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else None
    whole = {"height": pixels.height, "width": pixels.width}
    if crop == whole and size.get("shortest_edge") == pixels.height == pixels.width:
        mode = "shortest"
    elif crop in (None, whole) and {name: size.get(name) for name in whole} == whole:
        mode = "squash"
    else:
        raise InputError(
            f"open_clip cannot prepare images as the model's processor does, by size {size} and crop {crop}",
            hint=NO_EXPORT,
        )
    how = INTERPOLATIONS.get(int(processor.resample))
    if how is None:
        raise InputError(f"open_clip cannot resize images by Pillow's filter {processor.resample}", hint=NO_EXPORT)
    return {
        "size": [pixels.height, pixels.width],
        "mean": list(pixels.mean),
        "std": list(pixels.std),
        "interpolation": how,
        "resize_mode": mode,
    }
