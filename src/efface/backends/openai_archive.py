"""The archives that OpenAI published its CLIPs in: tensors are read out of them, and none of their code is run.

Such a file is a TorchScript archive, a zip with a program and its tensors; what loads it the usual way runs the
program, and ``torch.load`` with ``weights_only=True`` refuses it. Its tensors stand in a pickle, which is read here
with an unpickler that knows tensors, and takes every class of the program for a name with values.
"""

import pickle
import zipfile
import zlib
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efface.errors import InputError

# What OpenAI's models hold besides weights; the mask is made anew.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
# What zip and pickle raise at bytes that are not what they should be.
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
)
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by what lies in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by their names, in the dtypes that they are stored in.

    Raises:
        InputError: If the archive is damaged, or holds something else than modules of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = _Unpickler(archive, name.removesuffix("data.pkl")).load()
            return dict(_tensors(root, ""))
    except _DAMAGED as error:
        raise InputError(
            f"{path} could not be read as an archive of tensors: {' '.join(str(error).split())[:300]}",
            hint="take the file from where OpenAI published it, or write NAME:openai, such as ViT-B-32:openai",
        ) from error


def weights_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are weights."""
    return {name: tensor for name, tensor in state.items() if name.split(".")[-1] not in NO_WEIGHTS}


def config_of(state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """The configuration of the open_clip model that the weights of an archive belong to.

    The shapes say everything but two things that hold for all of OpenAI's models: a head is 64 wide, and the activation
    is QuickGELU.

    Raises:
        InputError: If the weights are not in OpenAI's layout.
    """
    try:
        text_width = state["ln_final.weight"].shape[0]
        return {
            "embed_dim": state["text_projection"].shape[1],
            "quick_gelu": True,
            "vision_cfg": _vit(state) if "visual.proj" in state else _resnet(state),
            "text_cfg": {
                "context_length": state["positional_embedding"].shape[0],
                "vocab_size": state["token_embedding.weight"].shape[0],
                "width": text_width,
                "heads": text_width // 64,
                "layers": _count(state, "transformer.resblocks."),
            },
        }
    except LookupError as error:
        raise InputError(
            f"{path} holds no CLIP in OpenAI's layout: it has no {error}",
            hint="for a checkpoint of a model that open_clip names, write NAME:FILE",
        ) from error


def _vit(state: dict[str, Tensor]) -> dict[str, Any]:
    patches = state["visual.conv1.weight"]
    grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "image_size": grid * patches.shape[-1],
        "layers": _count(state, "visual.transformer.resblocks."),
        "width": patches.shape[0],
        "patch_size": patches.shape[-1],
    }


def _resnet(state: dict[str, Tensor]) -> dict[str, Any]:
    # The attention pool has a place for each of the last cells, 32 pixels apart, and one for their mean.
    grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "image_size": grid * 32,
        "layers": [_count(state, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)],
        "width": state["visual.layer1.0.conv1.weight"].shape[0],
    }


def _count(state: dict[str, Tensor], start: str) -> int:
    return len({name.removeprefix(start).split(".")[0] for name in state if name.startswith(start)})


class _Module:
    """Stands for any class of the program: what the pickle says of it are attributes."""


class _Unpickler(pickle.Unpickler):
    """Knows tensors, ordered dictionaries, lists of numbers and modules, and calls nothing else."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(BytesIO(archive.read(f"{root}data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
        }
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of a storage, whatever device they were on."""
        _, dtype, key, *_ = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _rebuilt(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Tensor:
    del rest  # whether it asks for gradients, and hooks
    return storage.as_strided(size, stride, offset)


def _tensors(module: object, prefix: str) -> list[tuple[str, Tensor]]:
    found = []
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found.append((f"{prefix}{name}", value))
        elif isinstance(value, _Module):
            found += _tensors(value, f"{prefix}{name}.")
    return found
