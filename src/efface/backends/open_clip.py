"""open_clip checkpoints: ``local-dir:FOLDER``, and ``NAME:TAG`` for a named model with pretrained weights.

Loading and preprocessing are open_clip's own. OpenAI's weights and some others were trained with QuickGELU, which the
plain model names do not turn on: here the tag decides, and a saved folder keeps it.
"""

import difflib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from efface.backends.base import LoadedCLIP, TowerPair, carry_over, check_finite, stored_dtypes, write_weights
from efface.errors import InputError
from efface.types import Embeddings, Images, Part, PixelSpace, Tokens, Tower, WeightGroup

LOCAL = "local-dir:"
CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"

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
TEXT_PARTS: Mapping[str, Part] = {
    "token_embedding": "embedding",
    "positional_embedding": "embedding",
    "cls_emb": "embedding",
    "transformer": "blocks",
    "ln_final": "norm",
    "text_projection": "projection",
}


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

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        """Every parameter of a tower in the order of the checkpoint, each a group of its own.

        OpenAI's layout, which open_clip keeps, already holds query, key and value of a block in one tensor; those of a
        ResNet's attention pool are three tensors in every format.

        Raises:
            InputError: If the tower is of a kind whose parts are not known here (a timm or transformers tower).
        """
        norms = {id(p) for m in self.module.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
        groups = []
        for name, parameter in self.module.named_parameters():
            part = _part_of(name, tower)
            if part is not None:
                groups.append(WeightGroup(name, part, id(parameter) in norms, (parameter,)))
        return tuple(groups)

    @torch.no_grad()
    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Changes the last image weights so that each embedding ``f`` becomes ``f @ matrix``.

        Raises:
            InputError: If the image tower does not end in a linear map.
        """
        visual = self.model.visual
        matrix = matrix.to(self.device, torch.float64)
        if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
            last = visual.attnpool.c_proj
            last.weight.copy_(matrix.T @ last.weight.double())
            last.bias.copy_(last.bias.double() @ matrix)
        elif isinstance(visual, open_clip.transformer.VisionTransformer) and visual.proj is not None:
            visual.proj.copy_(visual.proj.double() @ matrix)
        else:
            raise InputError(
                f"the image tower {type(visual).__name__} does not end in a linear map that a projection can go into",
                hint="use a model whose image tower has a final projection",
            )


class OpenCLIPBackend:
    """Loads and saves open_clip checkpoints."""

    library = "open_clip"

    def accepts(self, source: str) -> bool:
        """True for ``local-dir:FOLDER`` and for ``NAME:TAG``."""
        name, colon, _ = source.partition(":")
        return source.startswith(LOCAL) or (bool(colon) and "/" not in name and name != "builtin")

    def load(self, source: str, *, device: torch.device, precision: torch.dtype) -> LoadedCLIP:
        """Loads a checkpoint in evaluation mode, computing in ``precision``.

        Raises:
            InputError: If there is no such folder, name or tag, or its weights cannot be used.
        """
        if source.startswith(LOCAL):
            folder = Path(source.removeprefix(LOCAL))
            config = _folder_config(folder)
            model, tokenize = _create(source, source, None, quick_gelu=False)
            path = next((p for p in (folder / WEIGHTS, *sorted(folder.glob("*.safetensors"))) if p.is_file()), None)
            stored = {} if path is None else stored_dtypes(path)
        else:
            folder, stored = None, {}
            name, tag = source.split(":", maxsplit=1)
            config = _named_config(name, tag)
            model, tokenize = _create(source, name, tag, quick_gelu=config["model_cfg"].get("quick_gelu", False))
            config["preprocess_cfg"] = dict(model.visual.preprocess_cfg)
        check_finite(model.state_dict(), source)
        preprocess_cfg = PreprocessCfg(**model.visual.preprocess_cfg)
        height, width = preprocess_cfg.input_size[1:]
        pixels = PixelSpace(tuple(preprocess_cfg.mean), tuple(preprocess_cfg.std), height, width)
        return LoadedCLIP(
            encoder=OpenCLIPEncoder(model.eval().to(device), pixels, precision),
            tokenize=tokenize,
            preprocess=image_transform_v2(preprocess_cfg, is_train=False),
            source=source,
            library=self.library,
            config=config,
            folder=folder,
            stored=stored,
        )

    def save(self, clip: LoadedCLIP, folder: Path) -> None:
        """Writes a folder that open_clip loads as ``local-dir:FOLDER``.

        Small files of the base folder, a tokenizer say, are carried over; its weights and its model card are not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if clip.folder is not None:
            carry_over(clip.folder, folder)
        else:
            (folder / CONFIG).write_text(json.dumps(clip.config, indent=2) + "\n", encoding="utf-8")
            tokenizer = getattr(clip.tokenize, "tokenizer", None)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
        write_weights(clip, folder / WEIGHTS, like=folder / CONFIG)


def _part_of(name: str, tower: Tower) -> Part | None:
    """The part that a parameter sits in; None where it belongs to the other tower or to neither."""
    if name in {"logit_scale", "logit_bias"}:
        return None
    is_image = name.startswith("visual.")
    if is_image != (tower == "image"):
        return None
    path = name.removeprefix("visual.").removeprefix("text.").split(".")
    part = (IMAGE_PARTS if is_image else TEXT_PARTS).get(path[0])
    if part is None:
        raise InputError(
            f"the parts of the {tower} tower are not known: its parameter {name!r} is neither a ResNet's nor a ViT's",
            hint="use a model with open_clip's own ResNet or ViT towers",
        )
    return "embedding" if part == "pool" and path[-1] == "positional_embedding" else part


def _folder_config(folder: Path) -> dict[str, Any]:
    """The configuration in a ``local-dir:`` folder, after checking that the folder can be loaded at all."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}", hint="give the folder that holds " + CONFIG)
    path = folder / CONFIG
    if not path.is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        inside = folder / "model" / CONFIG
        hint = f"write {LOCAL}{inside.parent}" if inside.is_file() else "give a folder in open_clip's format"
        raise InputError(f"{folder} has no {CONFIG}: it holds {held}", hint=hint)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint="take the file from the original checkpoint") from None
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise InputError(f"{path} has no 'model_cfg'", hint="take the file from the original checkpoint")
    if not any(p.suffix in {".safetensors", ".bin", ".pth"} for p in folder.iterdir()):
        raise InputError(f"{folder} holds no weights", hint=f"put {WEIGHTS} into it")
    return config


def _named_config(name: str, tag: str) -> dict[str, Any]:
    """The configuration of a named model, with the QuickGELU that its tag was trained with."""
    names: list[str] = open_clip.list_models()
    if name not in names:
        if name in {"hf-hub", "hf"}:
            raise InputError(
                f"{name}:{tag} names a model on the Hub, which is not read from there",
                hint="download it into a folder and write local-dir:FOLDER",
            )
        near = difflib.get_close_matches(name, names, n=3)
        raise InputError(
            f"open_clip has no model {name!r}",
            hint=f"did you mean {' or '.join(near)}?"
            if near
            else "python -c 'import open_clip; print(open_clip.list_models())'",
        )
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags and not Path(tag).is_file():
        raise InputError(f"open_clip has no weights {tag!r} for {name}", hint=_tag_hint(tag, tags))
    config: dict[str, Any] = open_clip.get_model_config(name)
    if open_clip.pretrained.get_pretrained_cfg(name, tag).get("quick_gelu", False):
        config["quick_gelu"] = True
    return {"model_cfg": config}


def _tag_hint(tag: str, tags: list[str]) -> str:
    near = difflib.get_close_matches(tag, tags, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"its tags are {', '.join(tags) or 'none'}"


def _create(source: str, name: str, tag: str | None, *, quick_gelu: bool) -> tuple[Any, Any]:
    """The model and its tokenizer by open_clip, its errors put into one line."""
    try:
        model = open_clip.create_model(name, tag, require_pretrained=True, force_quick_gelu=quick_gelu)
        return model, open_clip.get_tokenizer(name)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{source} could not be loaded: its weights are a pickle that holds more than tensors, and may run code",
            hint="convert it to safetensors where it comes from",
        ) from error
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{source} could not be loaded: {reason[:300]}",
            hint="check that configuration and weights belong together, and that the weights can be fetched",
        ) from error
