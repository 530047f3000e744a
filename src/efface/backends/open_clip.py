"""open_clip checkpoints: ``local-dir:FOLDER``, ``NAME:TAG`` and ``NAME:FILE``, and the archives that OpenAI published.

Loading and preprocessing are open_clip's own. OpenAI's weights and some others were trained with QuickGELU, which the
plain model names do not turn on: here the tag decides, and a saved folder keeps it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efface.backends.base import (
    LoadedCLIP,
    TowerPair,
    carry_over,
    check_finite,
    refuse_to_fold,
    save_tokenizer,
    write_weights,
)
from efface.backends.loading import in_one_line, no_code_of_others, not_loaded
from efface.backends.open_clip_sources import (
    WEIGHTS,
    Found,
    find,
    holds_tokenizer,
    stored_in,
    tokenizer_of,
)
from efface.backends.openai_archive import config_of, is_torchscript, read_state, weights_of
from efface.backends.penultimate import of_open_clip
from efface.errors import InputError
from efface.open_clip_names import CONFIG, LOCAL
from efface.paths import path_of
from efface.types import Embeddings, Images, Part, PixelSpace, Tokens, Tower, WeightGroup

IMAGE_PARTS: Mapping[str, Part] = {
    # Vision transformer
    "class_embedding": "embedding",
    "positional_embedding": "embedding",
    "ln_pre": "norm",
    "transformer": "blocks",
    "ln_post": "norm",
    "attn_pool": "pool",
    "proj": "projection",
    # ResNet; conv1 is the transformer's patch embedding too
    **dict.fromkeys(("conv1", "conv2", "conv3", "bn1", "bn2", "bn3"), "stem"),
    **dict.fromkeys(("layer1", "layer2", "layer3", "layer4"), "blocks"),
    "attnpool": "pool",
}
# A vision transformer of timm's, as SigLIP has it.
TIMM_PARTS: Mapping[str, Part] = {
    "trunk.cls_token": "embedding",
    "trunk.reg_token": "embedding",
    "trunk.pos_embed": "embedding",
    "trunk.patch_embed": "stem",
    "trunk.norm_pre": "norm",
    "trunk.blocks": "blocks",
    "trunk.norm": "norm",
    "trunk.attn_pool": "pool",
    "trunk.fc_norm": "norm",
    "trunk.head": "projection",
    "head.proj": "projection",
}
TEXT_PARTS: Mapping[str, Part] = {
    "token_embedding": "embedding",
    "positional_embedding": "embedding",
    "cls_emb": "embedding",
    "transformer": "blocks",
    "ln_final": "norm",
    "text_projection": "projection",
}
HINT = "check that configuration and weights belong together, and that the weights can be fetched"
# Query, and key with value, of timm's attention pool.
_POOL = re.compile(r"(trunk\.attn_pool)\.(?:q|kv)\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class OpenCLIPEncoder(TowerPair):
    """An open_clip model as a :class:`~efface.types.DualEncoder`."""

    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings as the tower puts them out, in float32."""
        with self.autocast():
            embeddings: Tensor = self.model.encode_image(images)
        return embeddings.float()

    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings as the tower puts them out, in float32."""
        with self.autocast():
            embeddings: Tensor = self.model.encode_text(tokens)
        return embeddings.float()

    def penultimate(self, images: Images) -> Float[Tensor, "batch channels"]:
        """The last image features before the map into the shared space, in float32."""
        with self.autocast():
            return of_open_clip(self.model.visual, images).float()

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        """Every parameter of a tower in the order of the checkpoint, each a group of its own.

        OpenAI's layout, which open_clip keeps, already holds query, key and value of a block in one tensor; those of a
        ResNet's attention pool are three tensors in every format. Those of SigLIP's attention pool, query apart from
        key and value here and one tensor in transformers, are one group.

        Raises:
            InputError: If the tower is of a kind whose parts are not known here: one of transformers, or of timm and no
                vision transformer.
        """
        norms = {id(p) for m in self.module.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
        groups: dict[str, tuple[Part, list[nn.Parameter]]] = {}
        for name, parameter in self.module.named_parameters():
            part = _part_of(name, tower)
            if part is not None:
                groups.setdefault(_POOL.sub(r"\1.in_proj_\2", name), (part, []))[1].append(parameter)
        return tuple(
            WeightGroup(name, part, id(members[0]) in norms, tuple(members)) for name, (part, members) in groups.items()
        )

    def image_blocks(self) -> tuple[nn.Module, ...]:
        """A ResNet's four stages and its attention pool, a vision transformer's residual blocks; else nothing."""
        visual = self.model.visual
        if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
            return (visual.layer1, visual.layer2, visual.layer3, visual.layer4, visual.attnpool)
        if isinstance(visual, open_clip.transformer.VisionTransformer):
            return tuple(visual.transformer.resblocks)
        return tuple(getattr(getattr(visual, "trunk", None), "blocks", ()))

    @torch.no_grad()
    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Changes the last image weights so that each embedding ``f`` becomes ``f @ matrix``.

        Raises:
            InputError: If the image tower does not end in a linear map.
        """
        visual = self.model.visual
        matrix = matrix.to(self.device, torch.float64)
        if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
            _fold_linear_(visual.attnpool.c_proj, matrix)
        elif isinstance(visual, open_clip.transformer.VisionTransformer) and visual.proj is not None:
            visual.proj.copy_(visual.proj.double() @ matrix)
        elif isinstance(visual, open_clip.timm_model.TimmModel) and isinstance(visual.trunk.head, nn.Linear):
            _fold_linear_(visual.trunk.head, matrix)
        elif isinstance(visual, open_clip.timm_model.TimmModel) and "proj" in dict(visual.head.named_children()):
            _fold_linear_(visual.head.proj, matrix)
        else:
            refuse_to_fold(type(visual).__name__)


class OpenCLIPBackend:
    """Loads and saves open_clip checkpoints."""

    library = "open_clip"

    def accepts(self, source: str) -> bool:
        """True for ``local-dir:FOLDER``, for ``NAME:TAG``, and for a file."""
        name, colon, _ = source.partition(":")
        return source.startswith(LOCAL) or (bool(colon) and "/" not in name) or path_of(source).is_file()

    def load(self, source: str, *, device: torch.device, precision: torch.dtype) -> LoadedCLIP:
        """Loads a checkpoint in evaluation mode, computing in ``precision``.

        Raises:
            InputError: If there is no such folder, name, tag or file, or its weights cannot be used.
        """
        stored: Mapping[str, torch.dtype]
        with in_one_line(source, hint=HINT):
            if path_of(source).is_file():
                folder, card = None, None
                model, config, stored = _from_archive(path_of(source))
                tokenize = open_clip.SimpleTokenizer(context_length=model.context_length)
            else:
                found = find(source)
                folder, config, card = found.folder, found.config, found.card
                model, tokenize = _create(source, found)
                stored = stored_in(found.weights)
            preprocess_cfg = PreprocessCfg(**model.visual.preprocess_cfg)
            height, width = preprocess_cfg.input_size[1:]
            pixels = PixelSpace(tuple(preprocess_cfg.mean), tuple(preprocess_cfg.std), height, width)
            preprocess = image_transform_v2(preprocess_cfg, is_train=False)
            _check_preprocess(source, preprocess, (3, height, width))
        if folder is None:
            config["preprocess_cfg"] = dict(model.visual.preprocess_cfg)
        check_finite(model.state_dict(), source)
        return LoadedCLIP(
            encoder=OpenCLIPEncoder(model.eval().to(device), pixels, precision),
            tokenize=tokenize,
            preprocess=preprocess,
            source=source,
            library=self.library,
            config=config,
            folder=folder,
            stored=stored,
            card=card,
        )

    def save(self, clip: LoadedCLIP, folder: Path) -> None:
        """Writes a folder that open_clip loads as ``local-dir:FOLDER``.

        Small files of the base folder, a tokenizer say, are carried over; its weights and its model card are not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if clip.folder is not None:
            # Folders on the Hub often serve transformers too; its weights are not written here.
            carry_over(clip.folder, folder, but="config.json")
        else:
            (folder / CONFIG).write_text(json.dumps(clip.config, indent=2) + "\n", encoding="utf-8")
        tokenizer = getattr(clip.tokenize, "tokenizer", None)
        if tokenizer is not None and not holds_tokenizer(folder):
            save_tokenizer(tokenizer, folder)
        write_weights(clip.stored_state(), folder / WEIGHTS, like=folder / CONFIG)


def _part_of(name: str, tower: Tower) -> Part | None:
    """The part that a parameter sits in; None where it belongs to the other tower or to neither."""
    if name in {"logit_scale", "logit_bias"}:
        return None
    is_image = name.startswith("visual.")
    if is_image != (tower == "image"):
        return None
    path = name.removeprefix("visual.").removeprefix("text.").split(".")
    parts = {**IMAGE_PARTS, **TIMM_PARTS} if is_image else TEXT_PARTS
    part = parts.get(path[0]) or parts.get(".".join(path[:2]))
    if part is None:
        raise InputError(
            f"the parts of the {tower} tower are not known: its parameter {name!r} is neither a ResNet's nor a ViT's",
            hint="use a model with open_clip's own ResNet or ViT towers, or SigLIP; efface evaluate takes every model",
        )
    return "embedding" if part == "pool" and path[-1] == "positional_embedding" else part


def _check_preprocess(source: str, preprocess: Any, shape: tuple[int, ...]) -> None:
    """Refuses a preprocessing that makes something else than model input of a picture, which it is tried on."""
    made = preprocess(Image.new("RGB", (2 * shape[2], 3 * shape[1]), "white"))
    if made.shape != shape or not made.isfinite().all():
        raise not_loaded(source, f"its preprocess_cfg makes no numbers of the shape {shape} of a picture", hint=HINT)


@torch.no_grad()
def _fold_linear_(last: nn.Linear, matrix: Float[Tensor, "dim dim"]) -> None:
    last.weight.copy_(matrix.T @ last.weight.double())
    if last.bias is not None:
        last.bias.copy_(last.bias.double() @ matrix)


def _create(source: str, found: Found) -> tuple[Any, Any]:
    """The model and its tokenizer by open_clip."""
    quick_gelu = found.config["model_cfg"].get("quick_gelu", False)
    tag = None if found.folder is not None else str(found.weights)
    with no_code_of_others():
        model = open_clip.create_model(
            found.model,
            tag,
            require_pretrained=True,
            force_quick_gelu=quick_gelu,
            force_preprocess_cfg=dict(found.preprocess or {}),
        )
    return model, tokenizer_of(found)


def _from_archive(path: Path) -> tuple[Any, dict[str, Any], Mapping[str, torch.dtype]]:
    """The model in an archive of OpenAI's, its configuration, and the dtypes that it is stored in.

    Raises:
        InputError: If it is another file: weights alone do not say with which activation they were trained.
    """
    if not is_torchscript(path):
        raise InputError(
            f"{path} is no archive as OpenAI published them, and weights alone do not say what model they are of",
            hint=f"write NAME:{path}, with the model's name in open_clip, such as ViT-B-32 or ViT-B-32-quickgelu",
        )
    state = weights_of(read_state(path))
    config = config_of(state, path)
    model = open_clip.CLIP(**config)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    open_clip.model.set_model_preprocess_cfg(model, asdict(PreprocessCfg(size=model.visual.image_size)))
    return model, {"model_cfg": config}, {name: tensor.dtype for name, tensor in state.items()}
