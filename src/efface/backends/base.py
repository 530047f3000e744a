"""A loaded CLIP, and what a checkpoint family must be able to do with one."""

import copy
import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from efface.errors import InputError
from efface.types import ClassTokens, DualEncoder, Embeddings, Features, Images, PixelSpace, Scalar, Tokens

Preprocess = Callable[[Image.Image], Float[Tensor, "3 height width"]]


@dataclass(frozen=True, slots=True)
class LoadedCLIP:
    """A CLIP with all that is needed to use it and to write it back as it came.

    Attributes:
        encoder: the two towers.
        tokenize: texts to token ids.
        preprocess: a picture to model input.
        source: as the user named it.
        library: the checkpoint family; a row of the table of backends.
        config: what the family keeps beside the weights.
        folder: where tokenizer and other small files lie; None where the family makes them anew.
        stored: the dtype of each tensor in the checkpoint. Towers compute in float32 whatever this says.
        card: the model card that came with it, whose license holds for what is made of it; None where there is none.
    """

    encoder: DualEncoder
    tokenize: Callable[[Sequence[str]], Tokens]
    preprocess: Preprocess
    source: str
    library: str
    config: Mapping[str, Any]
    folder: Path | None
    stored: Mapping[str, torch.dtype]
    card: Path | None = None

    def copy(self) -> "LoadedCLIP":
        """The same model with weights of its own, so that editing it leaves this one alone."""
        return replace(self, encoder=copy.deepcopy(self.encoder))

    def class_tokens(self, texts: Sequence[Sequence[str]]) -> ClassTokens:
        """Token ids of the texts of each class; every class must have equally many."""
        flat = self.tokenize([text for row in texts for text in row])
        return flat.view(len(texts), len(texts[0]), -1)

    def stored_state(self) -> dict[str, Tensor]:
        """All tensors by name, on the CPU, in the dtypes that they are stored in."""
        state = self.encoder.module.state_dict()
        return {name: t.detach().cpu().to(self.stored.get(name, t.dtype)).contiguous() for name, t in state.items()}

    @torch.no_grad()
    def round_to_stored_(self) -> None:
        """Rounds every weight to what a checkpoint can hold.

        Done before anything is measured: what is measured is then what is written, to the last bit.
        """
        rounded = self.stored_state()
        for name, tensor in self.encoder.module.state_dict().items():
            tensor.copy_(rounded[name])


@dataclass(frozen=True, slots=True)
class TowerPair(ABC):
    """What a :class:`~efface.types.DualEncoder` is in every format; a family adds its embeddings and its weights.

    Attributes:
        module: the model, in evaluation mode.
        pixels: how it reads pixels.
        precision: what its towers compute in; float32 leaves them as they are, others go through autocast.
    """

    module: nn.Module
    pixels: PixelSpace
    precision: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def logit_scale(self) -> Scalar:
        """What cosines are multiplied with, already exponentiated."""
        scale: Tensor = self.model.logit_scale.exp()
        return scale.reshape(())

    @property
    def model(self) -> Any:
        """The module without types: the libraries' own attributes carry none."""
        return self.module

    def autocast(self) -> torch.autocast:
        """What the towers are run under."""
        on = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision if on else torch.bfloat16, enabled=on)

    @abstractmethod
    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings as the tower puts them out, in float32."""

    @abstractmethod
    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings as the tower puts them out, in float32."""

    @abstractmethod
    def penultimate(self, images: Images) -> Float[Tensor, "batch channels"]:
        """The last image features before the map into the shared space, one vector an image, in float32."""

    def encode_image(self, images: Images) -> Features:
        """Image embeddings scaled to unit length."""
        return F.normalize(self.embed_image(images), dim=-1)

    def encode_text(self, tokens: Tokens) -> Features:
        """Text embeddings scaled to unit length."""
        return F.normalize(self.embed_text(tokens), dim=-1)


@runtime_checkable
class CLIPBackend(Protocol):
    """A checkpoint family."""

    @property
    def library(self) -> str:
        """The name of the library that its checkpoints are made for."""
        ...

    def accepts(self, source: str) -> bool:
        """Whether a model name is of this family, by its form alone."""
        ...

    def load(self, source: str, *, device: torch.device, precision: torch.dtype) -> LoadedCLIP:
        """Loads a checkpoint in evaluation mode.

        Raises:
            InputError: If there is no such checkpoint, or it cannot be used.
        """
        ...

    def save(self, clip: LoadedCLIP, folder: Path) -> None:
        """Writes a checkpoint that the family's own library loads without efface."""
        ...


def refuse_to_fold(tower: str) -> NoReturn:
    """Says why a linear map of the embeddings cannot become part of an image tower's weights.

    SigLIP's attention pool ends in ``h + mlp(norm(h))``. Weights before it could make ``h @ matrix`` of ``h``, but then
    ``norm`` sees another vector, and what it makes of the old one is not to be had from the new: exact is nothing.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"the image tower {tower} does not end in a linear map that a projection can go into",
        hint="use --method lip, or a model whose image tower has a final projection",
    )


def small_files(folder: Path) -> list[Path]:
    """The small files of a checkpoint, its tokenizer say, and neither weights nor their index nor the card."""
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in {".json", ".txt", ".model"})
    return [path for path in found if not path.name.endswith(".index.json")]


def carry_over(source: Path, target: Path, *, but: str = "") -> None:
    """Copies the small files of a checkpoint."""
    for path in small_files(source):
        if path.name != but:
            shutil.copyfile(path, target / path.name)


def configuration(clip: LoadedCLIP) -> dict[str, Any]:
    """All that a loaded CLIP is made of beside its weights: plain values, and digests of its small files."""
    pixels = clip.encoder.pixels
    files = [] if clip.folder is None else small_files(clip.folder)
    return {
        "library": clip.library,
        "config": dict(clip.config),
        "pixels": {"mean": pixels.mean, "std": pixels.std, "size": (pixels.height, pixels.width)},
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes a tokenizer of transformers so that version 4 reads it as well.

    Version 5 has another name for the class of tokenizers that are nothing but their file, and reads either name.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    written = path.read_text(encoding="utf-8")
    path.write_text(written.replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'), encoding="utf-8")


def write_weights(state: dict[str, Tensor], path: Path, *, like: Path) -> None:
    """Writes tensors as they are, with the rights of another file: safetensors' are readable to their owner alone."""
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(like.stat().st_mode)


def digest(state: Mapping[str, Tensor]) -> str:
    """The sha256 of named tensors: names, dtypes, shapes and bytes, in the order of the names.

    It depends on the weights alone, not on how a file orders or pads them.
    """
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinite values."""
    return [name for name, tensor in state.items() if not tensor.isfinite().all()]


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuses weights that are NaN or infinite.

    Raises:
        InputError: It names the tensors.
    """
    bad = not_finite(state)
    if bad:
        raise InputError(
            f"{source}: {len(bad)} tensors hold NaN or infinite values, {bad[0]!r} first",
            hint="the checkpoint is damaged or its training diverged; use another one",
        )


def stored_dtypes(path: Path) -> dict[str, torch.dtype]:
    """The dtype of each tensor in a safetensors file, as its header says; of kinds that models are kept in."""
    codes = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
    }
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return {name: codes[code] for name, code in found.items() if code in codes}
