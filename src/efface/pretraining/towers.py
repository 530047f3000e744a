"""Towers with random weights, in the folder of their family: what training starts from, and what it leaves behind."""

import copy
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn

from efface import backends
from efface.backends.base import LoadedCLIP, save_tokenizer
from efface.backends.open_clip_sources import WEIGHTS
from efface.errors import InputError, offer
from efface.open_clip_names import CONFIG, LOCAL
from efface.pretraining.recipe import Recipe
from efface.pretraining.vocabulary import folder_tokenizer, word_tokenizer
from efface.types import DualEncoder, Features, Images, Scalar
from efface.whole import written_whole

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
STORED = {"fp32": torch.float32, "fp16": torch.float16}
CONTEXT = 77
# What a family's code raises at a configuration that does not fit together. Not OSError, which a full disk raises too.
BUILD_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError)
# transformers takes it, and does not name it among what a configuration holds.
UNNAMED = ("attn_implementation",)


class Towers(nn.Module):
    """Both towers in one forward pass, as a process group wants it.

    The bias of the sigmoid loss is open_clip's own ``logit_bias`` where the model has one, else a parameter here that
    training needs and no checkpoint of the family has a place for.
    """

    def __init__(self, encoder: DualEncoder, bias: float | None) -> None:
        super().__init__()
        self.module = encoder.module
        self._encoder = encoder
        own = getattr(self.module, "logit_bias", None)
        if own is not None:
            # The softmax loss does not depend on it: without a gradient it must not be waited for.
            own.requires_grad_(bias is not None)
        self.bias = None if bias is None or own is not None else nn.Parameter(torch.tensor(bias, device=encoder.device))

    def forward(
        self, images: Images, tokens: Int[Tensor, "texts context"]
    ) -> tuple[Features, Float[Tensor, "texts dim"], Scalar, Scalar]:
        """Features of images and of texts, the scale, and the bias (0 where there is none)."""
        scale = self._encoder.logit_scale
        own = self.bias if self.bias is not None else getattr(self.module, "logit_bias", None)
        bias = torch.zeros_like(scale) if own is None else own.reshape(())
        return self._encoder.encode_image(images), self._encoder.encode_text(tokens), scale, bias

    @torch.no_grad()
    def clamp_scale_(self, most: float) -> None:
        """Keeps the scale between 1 and ``most``, as Radford et al. 2021 keep it below 100."""
        self.module.get_parameter("logit_scale").clamp_(0, math.log(most))


def write_initial(recipe: Recipe, captions: Iterable[str], folder: Path) -> None:
    """Writes the folder that training starts from: configuration, tokenizer, and random weights in fp32.

    The same recipe and captions give the same folder, bit for bit; torch's global random state is left as it was.

    Args:
        recipe: towers, tokenizer, pixels and seed.
        captions: what the vocabulary is made of.
        folder: made, whole or not at all.

    Raises:
        InputError: If the configuration cannot be built.
        OSError: If the folder cannot be written.
    """
    write = _write_open_clip if recipe.model.family == "open_clip" else _write_transformers
    with _refused(recipe, *BUILD_ERRORS), written_whole(folder) as partial, torch.random.fork_rng(devices=[]):
        partial.mkdir()
        torch.manual_seed(recipe.training.seed)
        write(recipe, captions, partial)


def load_initial(recipe: Recipe, folder: Path, device: torch.device) -> LoadedCLIP:
    """The towers in a folder, computing in the recipe's precision."""
    source = f"{LOCAL}{folder}" if recipe.model.family == "open_clip" else str(folder)
    clip = backends.load(source, device=str(device))
    encoder: Any = clip.encoder
    return replace(clip, encoder=replace(encoder, precision=PRECISIONS[recipe.training.precision]))


def exported(clip: LoadedCLIP, recipe: Recipe) -> LoadedCLIP:
    """The same CLIP, to be stored as the recipe says and computing in fp32; its weights are rounded to that."""
    dtype = STORED[recipe.model.stored]
    state = clip.encoder.module.state_dict()
    config = dict(clip.config)
    if clip.library == "transformers":  # what plain from_pretrained goes by
        config["dtype"] = str(dtype).removeprefix("torch.")
    encoder: Any = clip.encoder
    made = replace(
        clip,
        encoder=replace(encoder, precision=torch.float32),
        config=config,
        stored={name: dtype for name, tensor in state.items() if tensor.is_floating_point()},
    )
    made.round_to_stored_()
    return made


@contextmanager
def _refused(recipe: Recipe, *errors: type[Exception]) -> Iterator[None]:
    """Puts the blame for some errors on the configuration."""
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"no model can be built from model.config: {type(error).__name__}: {reason}",
            hint=f"see which values {recipe.model.family} knows, and that they fit each other",
        ) from error


def _known(table: Mapping[str, Any], names: Iterable[str], where: str = "") -> None:
    """Refuses names that a family would ignore, or refuse without a word about the right ones.

    Raises:
        InputError: At the first that is not known.
    """
    known = list(names)
    for name in table:
        if name not in known:
            raise InputError(f"there is no model.config.{where}{name}", hint=offer(name, known))


def _tokenizer(recipe: Recipe, captions: Iterable[str], context: int) -> Any:
    asked = recipe.tokenizer
    if asked.kind == "folder":
        return folder_tokenizer(asked.path)
    return word_tokenizer([*captions, *asked.more], context=context)


def _filled(table: dict[str, Any], where: str, **values: Any) -> None:
    """Puts what follows from the rest of the recipe into a table of the configuration.

    Raises:
        InputError: If the table says something else.
    """
    for name, value in values.items():
        if table.setdefault(name, value) != value:
            raise InputError(
                f"model.config.{where}.{name} is {table[name]!r}, but tokenizer and pixels make it {value!r}",
                hint="leave it out",
            )


def _parts(config: Mapping[str, Any], image: str, text: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A copy of the configuration that can be filled in, and its tables of the towers."""
    made = copy.deepcopy(dict(config))
    for name in (image, text):
        if not isinstance(made.setdefault(name, {}), dict):
            raise InputError(f"model.config.{name} is no table", hint=f"write [model.config.{name}]")
    return made, made[image], made[text]


def _write_open_clip(recipe: Recipe, captions: Iterable[str], folder: Path) -> None:
    import open_clip

    config, image, text = _parts(recipe.model.config, "vision_cfg", "text_cfg")
    _known(image, (field.name for field in fields(open_clip.CLIPVisionCfg)), "vision_cfg.")
    _known(text, (field.name for field in fields(open_clip.CLIPTextCfg)), "text_cfg.")
    tokenizer = _tokenizer(recipe, captions, text.setdefault("context_length", CONTEXT))
    _filled(image, "vision_cfg", image_size=recipe.pixels.size)
    # Any name makes open_clip look for a tokenizer in the folder instead of taking its own.
    _filled(text, "text_cfg", vocab_size=len(tokenizer), hf_tokenizer_name="here", pad_id=tokenizer.pad_token_id)
    if text.get("pool_type") == "eos":
        _filled(text, "text_cfg", eos_id=tokenizer.eos_token_id)
    elif tokenizer.eos_token_id != len(tokenizer) - 1:
        raise InputError(
            "the end of a text has not the highest number of the tokenizer's tokens, where open_clip would look for it",
            hint='set model.config.text_cfg.pool_type = "eos"',
        )
    config["init_logit_scale"] = math.log(recipe.training.first_scale)
    if recipe.training.loss == "siglip":
        config["init_logit_bias"] = recipe.training.logit_bias
    pixels = recipe.pixels
    reads = {"mean": pixels.mean, "std": pixels.std, "size": [pixels.size] * 2, "interpolation": "bicubic"}
    document = {"model_cfg": config, "preprocess_cfg": reads}
    (folder / CONFIG).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    save_tokenizer(tokenizer, folder)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it says that there are no weights
    try:
        with _refused(recipe, OSError):  # a tower of another library that is not on this machine
            model = open_clip.create_model(
                f"{LOCAL}{folder}", load_weights=False, pretrained_image=False, pretrained_text=False
            )
    finally:
        logging.disable(before)
    _save(model, folder / WEIGHTS)


def _write_transformers(recipe: Recipe, captions: Iterable[str], folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    config, image, text = _parts(recipe.model.config, "vision_config", "text_config")
    _known(config, (*CLIPConfig().to_dict(), *UNNAMED))
    _known(image, (*CLIPVisionConfig().to_dict(), *UNNAMED), "vision_config.")
    _known(text, (*CLIPTextConfig().to_dict(), *UNNAMED), "text_config.")
    tokenizer = _tokenizer(recipe, captions, text.setdefault("max_position_embeddings", CONTEXT))
    size = recipe.pixels.size
    _filled(image, "vision_config", image_size=size)
    _filled(
        text,
        "text_config",
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    made = CLIPConfig(**config, logit_scale_init_value=math.log(recipe.training.first_scale))
    made.architectures, made.dtype = ["CLIPModel"], "float32"
    _save(CLIPModel(made), folder / "model.safetensors")
    made.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(recipe.pixels.mean),
        image_std=list(recipe.pixels.std),
    ).save_pretrained(folder)


def _save(model: nn.Module, path: Path) -> None:
    state: dict[str, Tensor] = model.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata={"format": "pt"})
