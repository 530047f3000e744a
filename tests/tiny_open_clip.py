"""Small open_clip folders with random weights, made on the spot: the real format, no download."""

import copy
import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from tests.tiny_transformers import tokenizer

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
RESNET: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "head_width": 16},
    "text_cfg": TEXT,
}
VIT: dict[str, Any] = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32},
    "text_cfg": TEXT,
}
# One that reads words by a tokenizer of transformers: OpenAI's vocabulary takes half a second whenever it is read.
WORDED: dict[str, Any] = {
    **VIT,
    "text_cfg": {**TEXT, "vocab_size": 32, "hf_tokenizer_name": "here", "pool_type": "eos", "eos_id": 3},
}
CUSTOM_TEXT: dict[str, Any] = {**VIT, "custom_text": True}
# As open_clip configures SigLIP 2, whose activation is the same in both formats; the tower is registered below.
SIGLIP: dict[str, Any] = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "vit_tiny_patch8_siglip_32",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        **TEXT,
        "hf_tokenizer_name": "here",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    },
}
CONFIGS = {"resnet": RESNET, "vit": VIT, "custom text": CUSTOM_TEXT, "siglip": SIGLIP}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear", "size": [32, 32]}


def write_open_clip(folder: Path, config: dict[str, Any], *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """A ``local-dir:`` folder of this configuration."""
    cfg = copy.deepcopy(config)
    kind = open_clip.CustomTextCLIP if cfg.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(**cfg)
        randomize_(model)
    folder.mkdir(parents=True)
    if config["text_cfg"].get("hf_tokenizer_name"):
        tokenizer(pad="<end>").save_pretrained(folder)
    # SigLIP crops nothing.
    reads = {**PREPROCESS, "resize_mode": "squash"} if "timm_model_name" in config["vision_cfg"] else PREPROCESS
    document = {"model_cfg": config, "preprocess_cfg": reads}
    (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


@timm.models.register_model  # type: ignore[untyped-decorator, unused-ignore]
def vit_tiny_patch8_siglip_32(pretrained: bool = False, **settings: Any) -> nn.Module:
    """A tower for timm's table of names, by which alone open_clip knows SigLIP's; the smallest there is large."""
    del pretrained
    settings = {name: value for name, value in settings.items() if not name.startswith(("pretrained_cfg", "cache"))}
    tower: nn.Module = timm.models.VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        class_token=False,
        act_layer="gelu_tanh",
        **{"global_pool": "map", **settings},
    )
    tower.default_cfg = {}  # type: ignore[assignment]  # open_clip looks into it
    return tower


@torch.no_grad()
def randomize_(model: nn.Module) -> None:
    """Weights under which every block matters: open_clip starts a block's last BatchNorm at zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.2)
            module.running_mean.normal_(std=0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
