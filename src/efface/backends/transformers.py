"""Checkpoints of Hugging Face transformers' CLIP and SigLIP: a folder with a config.json, named by its path."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from efface.backends.base import LoadedCLIP, TowerPair, carry_over, check_finite, refuse_to_fold, write_weights
from efface.backends.penultimate import entering
from efface.backends.transformers_config import CONFIG, WEIGHTS
from efface.backends.transformers_folder import open_folder
from efface.paths import path_of
from efface.types import Embeddings, Images, Part, Tokens, Tower, WeightGroup

# The first line that a name begins with holds. "pre_layrnorm" is spelt so in every checkpoint.
PARTS: Mapping[str, tuple[Tower, Part]] = {
    "vision_model.embeddings.patch_embedding.": ("image", "stem"),
    "vision_model.embeddings.": ("image", "embedding"),
    "vision_model.pre_layrnorm.": ("image", "norm"),
    "vision_model.encoder.": ("image", "blocks"),
    "vision_model.post_layernorm.": ("image", "norm"),
    "vision_model.head.": ("image", "pool"),
    "visual_projection.": ("image", "projection"),
    "text_model.embeddings.": ("text", "embedding"),
    "text_model.encoder.": ("text", "blocks"),
    "text_model.final_layer_norm.": ("text", "norm"),
    "text_model.head.": ("text", "projection"),
    "text_projection.": ("text", "projection"),
}
_ATTENTION = re.compile(r"\.([qkv])_proj\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class TransformersEncoder(TowerPair):
    """A transformers ``CLIPModel`` as a :class:`~efface.types.DualEncoder`."""

    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings as the tower puts them out, in float32."""
        # Tower and projection one by one: what get_image_features returns differs between versions.
        with self.autocast():
            pooled = self.model.vision_model(pixel_values=images).pooler_output
            embeddings: Tensor = self.model.visual_projection(pooled)
        return embeddings.float()

    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings as the tower puts them out, in float32.

        No mask for the padding is needed: the tower reads its output at the end token, and attends to nothing after it.
        """
        with self.autocast():
            pooled = self.model.text_model(input_ids=tokens).pooler_output
            embeddings: Tensor = self.model.text_projection(pooled)
        return embeddings.float()

    def penultimate(self, images: Images) -> Float[Tensor, "batch channels"]:
        """The last image features before the projection, in float32: the class token after the last norm."""
        with self.autocast():
            pooled: Tensor = self.model.vision_model(pixel_values=images).pooler_output
        return pooled.float()

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        """Every parameter of a tower in the order of the checkpoint.

        Query, key and value of a block, three tensors here, are one group under the name of the one tensor that they
        are in OpenAI's layout; so are their biases.
        """
        groups: dict[str, tuple[Part, dict[str, nn.Parameter]]] = {}
        for name, parameter in self.module.named_parameters():
            place = next((place for start, place in PARTS.items() if name.startswith(start)), None)
            if place is not None and place[0] == tower:
                group = _ATTENTION.sub(r".in_proj_\2", name)
                groups.setdefault(group, (place[1], {}))[1][name] = parameter
        # OpenAI's order in the one tensor; the names differ in the letter alone.
        return tuple(
            WeightGroup(group, part, False, tuple(members[name] for name in sorted(members, key=_qkv)))
            for group, (part, members) in groups.items()
        )

    def image_blocks(self) -> tuple[nn.Module, ...]:
        """The residual blocks of the vision transformer."""
        return tuple(self.model.vision_model.encoder.layers)

    @torch.no_grad()
    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Changes the last image weights so that each embedding ``f`` becomes ``f @ matrix``."""
        last: Tensor = self.model.visual_projection.weight
        last.copy_(matrix.to(self.device, torch.float64).T @ last.double())


@dataclass(frozen=True, slots=True)
class SiglipEncoder(TransformersEncoder):
    """A transformers ``SiglipModel`` as a :class:`~efface.types.DualEncoder`; its towers pool embeddings."""

    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings as the tower puts them out, in float32."""
        with self.autocast():
            embeddings: Tensor = self.model.vision_model(pixel_values=images).pooler_output
        return embeddings.float()

    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings as the tower puts them out, in float32; padding is read too, as in training."""
        with self.autocast():
            embeddings: Tensor = self.model.text_model(input_ids=tokens).pooler_output
        return embeddings.float()

    def penultimate(self, images: Images) -> Float[Tensor, "batch channels"]:
        """The mean of the tokens that enter the attention pool, in float32."""
        vision = self.model.vision_model
        with self.autocast():
            return entering(vision.head, lambda: vision(pixel_values=images)).float()

    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Cannot be done.

        Raises:
            InputError: Always: the image tower does not end in a linear map.
        """
        del matrix
        refuse_to_fold("of SigLIP, an attention pool with a residual block,")


ENCODERS: Mapping[str, type[TransformersEncoder]] = {"clip": TransformersEncoder, "siglip": SiglipEncoder}


class TransformersBackend:
    """Loads and saves folders in transformers' format."""

    library = "transformers"

    def accepts(self, source: str) -> bool:
        """True for the path of a folder with a config.json."""
        return (path_of(source) / CONFIG).is_file()

    def load(self, source: str, *, device: torch.device, precision: torch.dtype) -> LoadedCLIP:
        """Loads a checkpoint in evaluation mode, computing in ``precision``.

        Raises:
            InputError: If the folder holds another type of model, or lacks what such a model needs, or its weights
                cannot be used.
        """
        folder = path_of(source)
        opened = open_folder(folder)
        check_finite(opened.model.state_dict(), source)
        return LoadedCLIP(
            encoder=ENCODERS[opened.config["model_type"]](opened.model.to(device), opened.pixels, precision),
            tokenize=opened.tokenize,
            preprocess=opened.preprocess,
            source=source,
            library=self.library,
            config=opened.config,
            folder=folder,
            stored=opened.stored,
        )

    def save(self, clip: LoadedCLIP, folder: Path) -> None:
        """Writes a folder that transformers loads by its path, its weights in one file.

        Small files of the base folder, a tokenizer say, are carried over; its weights and its model card are not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if clip.folder is not None:
            # Folders on the Hub often serve open_clip too; its weights are not written here.
            carry_over(clip.folder, folder, but="open_clip_config.json")
        (folder / CONFIG).write_text(json.dumps(clip.config, indent=2) + "\n", encoding="utf-8")
        write_weights(clip.stored_state(), folder / WEIGHTS, like=folder / CONFIG)


def _qkv(name: str) -> int:
    found = _ATTENTION.search(name)
    return "qkv".index(found[1]) if found else 0
