"""The configuration of a folder in transformers' format: what model it is of, and whether the rest can be there."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from efface import hub
from efface.errors import InputError

CLASSES: Mapping[str, str] = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""What transformers calls the models that are known here, by the model_type of their configuration."""
NAFLEX = "siglip2"
"""The model_type of a SigLIP 2 of variable resolution; those of fixed resolution have SigLIP's."""
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"
DAMAGED = "take the file from the original checkpoint"
ADAPTER = "adapter_config.json"
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))

# Packages, and the modules that they bring.
SENTENCEPIECE = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}


def fetch(repo: str, small: Path) -> Path:
    """The folder in the Hub's cache of a model in transformers' format, once its small files are there.

    Raises:
        InputError: If it is of another type or lacks a tokenizer, which is known before its weights are fetched; or if
            they cannot be fetched.
    """
    read_config(small)
    single = [[WEIGHTS], [f"{WEIGHTS}.index.json", "model-*"], [PICKLE], [f"{PICKLE}.index.json", "pytorch_model-*"]]
    return hub.fetch(repo, [CONFIG], single)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in a folder, after checking that it is of a CLIP or SigLIP and that a tokenizer is there.

    Raises:
        InputError: If it is of another type of model, or something else than its weights is missing.
    """
    path = folder / CONFIG
    config = _read(path)
    kind = config.get("model_type")
    if kind is None:
        raise InputError(f"{path} has no 'model_type'", hint="give a folder that transformers' CLIPModel wrote")
    _check_type(folder, str(kind))
    # Null, as no word of it, stands for transformers' usual tower.
    vision = config.get("vision_config") or {}
    if not isinstance(vision, dict):
        raise InputError(f"the vision_config of {path} is {vision!r}, and no JSON object", hint=DAMAGED)
    if kind == "siglip" and not vision.get("vision_use_head", True):
        raise InputError(
            f"the SigLIP in {folder} has no head (vision_use_head), and so no embeddings of images",
            hint="take the whole model that it is a part of",
        )
    if (folder / ADAPTER).is_file():
        raise InputError(
            f"{folder} holds a peft adapter, which transformers would load on top of the model",
            hint="merge it first (peft's merge_and_unload) and save the whole model",
        )
    # Without its files transformers makes a tokenizer that knows no words.
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise InputError(
            f"{folder} holds no tokenizer",
            hint="put tokenizer.json into it, or vocab.json with merges.txt, or spiece.model",
        )
    _check_sentencepiece(folder)
    return config


def _check_type(folder: Path, kind: str) -> None:
    if kind == NAFLEX:
        raise InputError(
            f"{folder} holds a SigLIP 2 of variable resolution (NaFlex, model_type {kind!r}): it reads patches with "
            "their places, where all of efface hands a model images of one size",
            hint="take the fixed resolution of the same model, such as google/siglip2-base-patch16-224",
        )
    if kind not in CLASSES:
        known = " or ".join(map(repr, CLASSES))
        raise InputError(
            f"{folder} holds a model of the type {kind!r}, and of transformers' models CLIP and SigLIP are known here",
            hint=f"give a folder whose config.json says model_type {known}",
        )


def _check_sentencepiece(folder: Path) -> None:
    """Refuses SigLIP's first tokenizer where what it needs is not there: without, others are tried that read otherwise.

    Raises:
        InputError: It names what to install.
    """
    path = folder / "tokenizer_config.json"
    written = _read(path) if path.is_file() else {}
    needed = [name for name, module in SENTENCEPIECE.items() if find_spec(module) is None]
    if str(written.get("tokenizer_class", "")).startswith("SiglipTokenizer") and needed:
        raise InputError(
            f"the tokenizer of {folder} needs {' and '.join(needed)}, which is not installed",
            hint=f"pip install {' '.join(needed)}",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint=DAMAGED) from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object", hint=DAMAGED)
    return found
