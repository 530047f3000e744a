"""What a folder in transformers' format holds: opened by transformers, and checked to belong together.

Loading, tokenizing and preprocessing are transformers' own. It takes seconds to import, which only who opens such a
folder has to wait for.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from efface.backends.base import stored_dtypes
from efface.backends.loading import in_one_line, not_loaded
from efface.backends.transformers_config import CLASSES, CONFIG, PICKLE, WEIGHTS, read_config
from efface.errors import InputError
from efface.types import PixelSpace, Tokens

# Names of tokens that no text is read as.
_NO_WORD = re.compile(r"▁?<.*>|\[.*\]")

HINT = "check that configuration, weights, tokenizer and image processor are of one checkpoint"


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Texts to token ids, all of the length that the model has positions for; SigLIP was trained so.

    Attributes:
        tokenizer: transformers' own.
        context: the length.
        lower: whether texts are put into lower case first.
    """

    tokenizer: Any
    context: int
    lower: bool = False

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids, padded and cut."""
        tokens: Tensor = self.tokenizer(
            [text.lower() if self.lower else text for text in texts],
            padding="max_length",
            max_length=self.context,
            truncation=True,
            return_tensors="pt",
        )["input_ids"]
        return tokens


@dataclass(frozen=True, slots=True)
class Preprocess:
    """A picture to model input."""

    processor: Any

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        """Model input of one picture."""
        pixels: Tensor = self.processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels


@dataclass(frozen=True, slots=True)
class Opened:
    """All that a folder holds.

    Attributes:
        config: config.json, as it stands there.
        model: a ``CLIPModel`` or ``SiglipModel`` in evaluation mode, in float32 on the CPU.
        tokenize: texts to token ids.
        preprocess: a picture to model input.
        pixels: how the model reads pixels.
        stored: the dtype of each tensor in the files.
    """

    config: dict[str, Any]
    model: nn.Module
    tokenize: Tokenize
    preprocess: Preprocess
    pixels: PixelSpace
    stored: dict[str, torch.dtype]


def open_folder(folder: Path) -> Opened:
    """Opens a folder with a config.json.

    Raises:
        InputError: If it holds another type of model, or lacks what such a model needs, or its parts do not fit each
            other.
    """
    config = read_config(folder)
    # Version 4 draws random weights before it reads the stored ones.
    with in_one_line(folder, hint=HINT), _quiet(), torch.random.fork_rng(devices=[]):
        stored = _stored(folder)
        model, tokenizer, processor = _create(folder, CLASSES[config["model_type"]])
        # SigLIP 2 learned texts in lower case, and its checkpoints name Gemma's tokenizer, which keeps capitals.
        lower = config["model_type"] == "siglip" and type(tokenizer).__name__.startswith("Gemma")
        tokenize = Tokenize(tokenizer, model.config.text_config.max_position_embeddings, lower)
        _check_tokens(folder, tokenize, model.config.text_config)
        preprocess = Preprocess(processor)
        pixels = _pixels(folder, preprocess, model.config.vision_config.image_size)
    return Opened(config, model.eval(), tokenize, preprocess, pixels, stored)


def _create(folder: Path, kind: str) -> tuple[Any, Any, Any]:
    """Model, tokenizer and image processor by transformers."""
    import transformers
    from transformers import AutoImageProcessor, AutoTokenizer

    # Weights of another shape are let pass, to be reported below with all else that does not fit.
    model, info = getattr(transformers, kind).from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
    )
    for fault in ("missing", "unexpected", "mismatched"):
        # Of weights of another shape version 5 says the two shapes too.
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in info[f"{fault}_keys"])
        if names:
            raise not_loaded(folder, f"{len(names)} weights are {fault} for its {CONFIG}, {names[0]} first", hint=HINT)
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return model, tokenizer, processor


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and reports that transformers prints: what matters of them is raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _stored(folder: Path) -> dict[str, torch.dtype]:
    """The dtype of each stored tensor, of the files that transformers reads: it looks for them in this order."""
    for name, read in ((WEIGHTS, stored_dtypes), (PICKLE, _pickled_dtypes)):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return read(folder / name)
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return {tensor: dtype for shard in shards for tensor, dtype in read(folder / shard).items()}
    raise InputError(f"{folder} holds no weights", hint=f"put {WEIGHTS} into it")


def _pickled_dtypes(path: Path) -> dict[str, torch.dtype]:
    state = torch.load(path, map_location="meta", weights_only=True)
    return {name: tensor.dtype for name, tensor in state.items()}


def _check_tokens(folder: Path, tokenize: Tokenize, config: Any) -> None:
    """Refuses a tokenizer of another model: its texts would be read at a wrong place, or not at all."""
    tokens = tokenize(["a", "a " * tokenize.context])
    # SigLIP reads at the last place, whatever stands there. 2 stands in old configurations of CLIP, where the model
    # takes the largest id for the end.
    is_clip = config.model_type.startswith("clip")
    if is_clip and config.eos_token_id != 2 and not (tokens == config.eos_token_id).any(dim=1).all():
        raise not_loaded(
            folder, f"its tokenizer does not end each text with the token {config.eos_token_id}", hint=HINT
        )
    # The vocabulary that some SigLIP share with T5 has spare tokens at its end, for which the model has no room.
    words = [number for name, number in tokenize.tokenizer.get_vocab().items() if not _NO_WORD.fullmatch(name)]
    if max(words, default=0) >= config.vocab_size or tokens.max() >= config.vocab_size:
        raise not_loaded(
            folder, f"its tokenizer has more than the {config.vocab_size} tokens of its {CONFIG}", hint=HINT
        )


def _pixels(folder: Path, preprocess: Preprocess, size: int) -> PixelSpace:
    """How the model reads pixels, as its image processor says; checked on a white picture."""
    processor = preprocess.processor
    mean, std = ([float(value) for value in values] for values in (processor.image_mean, processor.image_std))
    pixels = PixelSpace((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), size, size)
    white = preprocess(Image.new("RGB", (2 * size, 3 * size), "white"))
    if white.shape != (3, size, size):
        raise not_loaded(
            folder, f"its image processor makes {tuple(white.shape)} of a picture, its model takes {size}", hint=HINT
        )
    if not torch.allclose(white, pixels.normalize(torch.ones(1, 3, size, size))[0], atol=1e-4):
        raise not_loaded(
            folder, "its image processor does not make pixels in [0, 1] less mean over deviation", hint=HINT
        )
    return pixels
