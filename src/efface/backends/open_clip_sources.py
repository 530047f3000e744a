"""Where an open_clip model's configuration, weights and tokenizer come from: a folder, a name with a tag, the Hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer

from efface import hub
from efface.backends.base import stored_dtypes
from efface.backends.openai_archive import is_torchscript
from efface.errors import InputError
from efface.open_clip_names import CONFIG, LOCAL, no_name, no_tag, read_config
from efface.paths import path_of

WEIGHTS = "open_clip_model.safetensors"
# In the order in which open_clip prefers them in a folder.
_WEIGHTS = (
    WEIGHTS,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_SUFFIXES = (".safetensors", ".bin", ".pth")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")
# What open_clip's own tokenizers take. It hands all else to transformers, where some of it runs code.
_TOKENIZER_KWARGS = ("additional_special_tokens", "clean", "language", "reduction_mask", "strip_sep_token")
# What a tag says of the preprocessing, but for the size, which is the model's own.
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint before it is loaded.

    Attributes:
        model: what open_clip calls it: ``local-dir:FOLDER``, or the name of an architecture.
        config: what is written beside the weights; the preprocessing may lack still.
        weights: the file.
        folder: where the small files lie; None for a named model.
        preprocess: what the tags of a named model say of the preprocessing.
        card: the model card, where it lies elsewhere than in the folder; None where there is none.
    """

    model: str
    config: dict[str, Any]
    weights: Path
    folder: Path | None = None
    preprocess: Mapping[str, Any] | None = None
    card: Path | None = None


def fetch(repo: str) -> Path:
    """The folder in the Hub's cache of a model in open_clip's format.

    Raises:
        InputError: If the Hub has no such model in this format, or it cannot be fetched.
    """
    return hub.fetch(repo, [CONFIG], [[name] for name in _WEIGHTS])


def find(source: str) -> Found:
    """The checkpoint that ``local-dir:FOLDER``, ``NAME:TAG`` or ``NAME:FILE`` names; weights of a tag are fetched.

    Raises:
        InputError: If there is none, or it cannot be fetched.
    """
    if source.startswith(LOCAL):
        return _in_folder(path_of(source.removeprefix(LOCAL)))
    return _named(*source.split(":", maxsplit=1))


def tokenizer_of(found: Found) -> Any:
    """The tokenizer by open_clip.

    One that the configuration names on the Hub is taken from there, unless the folder holds it.

    Raises:
        InputError: If it cannot be fetched, or the configuration sets up something else than its texts.
    """
    text = found.config["model_cfg"].get("text_cfg", {})
    given = text.get("tokenizer_kwargs") or {}
    unknown = next((key for key in given if key not in _TOKENIZER_KWARGS), None)
    if unknown is not None:
        raise InputError(
            f"the tokenizer_kwargs of {found.model} say {unknown} = {given[unknown]!r}, which is not passed on to "
            "transformers",
            hint=f"of tokenizer_kwargs, these are known: {', '.join(_TOKENIZER_KWARGS)}",
        )
    name = text.get("hf_tokenizer_name")
    if not name:
        return open_clip.get_tokenizer(found.model)
    # Else transformers asks whether to run code that lies beside a tokenizer.
    if found.folder is not None and holds_tokenizer(found.folder):
        return open_clip.get_tokenizer(found.model, trust_remote_code=False)
    return HFTokenizer(
        str(hub.fetch(name, _TOKENIZER)) if hub.is_hub_id(name) else name,
        context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        tokenizer_mode=text.get("tokenizer_mode"),
        trust_remote_code=False,
        **given,
    )


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer of transformers', as open_clip uses it for texts of its own kind."""
    return any((folder / name).is_file() for name in _TOKENIZER)


def stored_in(path: Path) -> dict[str, torch.dtype]:
    """The dtype of each tensor in a file of weights, under the names that open_clip may give it.

    Raises:
        pickle.UnpicklingError: If it is a pickle that holds more than tensors.
    """
    if path.suffix == ".safetensors":
        found = stored_dtypes(path)
    elif path.suffix in {".npz", ".npy"}:
        return {}
    else:
        state = torch.load(path, map_location="meta", weights_only=True)
        state = state.get("state_dict", state)
        found = {name.removeprefix("module."): tensor.dtype for name, tensor in state.items()}
    # open_clip puts the text tower of some older checkpoints into a part of its own.
    return found | {f"text.{name}": dtype for name, dtype in found.items()}


def _in_folder(folder: Path) -> Found:
    """The checkpoint in a folder, after checking that it can be loaded at all."""
    config = read_config(folder)
    held_weights = sorted(p.name for p in folder.iterdir() if p.suffix in _SUFFIXES)
    # As open_clip chooses: by name, else safetensors, else the first.
    others = sorted(held_weights, key=lambda name: not name.endswith(".safetensors"))
    weights = next((name for name in (*_WEIGHTS, *others) if name in held_weights), None)
    if weights is None:
        raise InputError(f"{folder} holds no weights", hint=f"put {WEIGHTS} into it")
    return Found(f"{LOCAL}{folder}", config, folder / weights, folder)


def _named(name: str, tag: str) -> Found:
    """A named model, with the QuickGELU that its tag was trained with."""
    names: list[str] = open_clip.list_models()
    if name not in names:
        raise no_name(name, names)
    config: dict[str, Any] = {"model_cfg": open_clip.get_model_config(name)}
    known = open_clip.pretrained.get_pretrained_cfg(name, tag)
    if known:
        if known.get("quick_gelu", False):
            config["model_cfg"]["quick_gelu"] = True
        weights = _weights_of_tag(name, tag, known)
        card = weights.with_name(hub.CARD)  # what comes from the Hub lies beside its card
        return Found(
            name, config, weights, preprocess=_preprocess_of(known), card=card if known.get("hf_hub") else None
        )
    file = path_of(tag)
    if not file.is_file():
        tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
        raise no_tag(name, tag, tags)
    if is_torchscript(file):
        raise InputError(
            f"{tag} is an archive as OpenAI published them, which says itself what model it is", hint=f"write {tag}"
        )
    return Found(name, config, file, preprocess=_agreed_preprocess(name))


def _preprocess_of(known: Mapping[str, Any]) -> dict[str, Any]:
    return {key: known[key] for key in _PREPROCESS if key in known}


def _agreed_preprocess(name: str) -> dict[str, Any]:
    """The preprocessing that all tags of a name have; open_clip's usual one where there are no tags.

    Raises:
        InputError: If they do not agree: a file of weights does not say which it was trained with.
    """
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    says = {tag: _preprocess_of(open_clip.pretrained.get_pretrained_cfg(name, tag)) for tag in tags}
    first = next(iter(says.values()), {})
    other = next((tag for tag in says if says[tag] != first), None)
    if other is not None:
        differ = " and ".join(key for key in _PREPROCESS if first.get(key) != says[other].get(key))
        raise InputError(
            f"weights alone do not say how a {name} prepares images: {tags[0]} and {other} differ in {differ}",
            hint=f"with the tag that they were trained from, run efface export {name}:TAG --to open_clip --out FOLDER, "
            "and put them there in place of its weights",
        )
    return first


def _weights_of_tag(name: str, tag: str, known: Mapping[str, Any]) -> Path:
    """The file of weights of a tag, from the Hub where it is there: asked once and not for minutes, as it is else."""
    if "file" not in known and known.get("hf_hub"):
        repo, _, file = str(known["hf_hub"]).rpartition("/")
        try:
            return hub.fetch_file(repo, _safe_first(file) if file else _WEIGHTS[:3])
        except InputError as error:
            raise InputError(f"the weights of {name}:{tag} could not be fetched: {error}", hint=error.hint) from None
    try:
        return Path(open_clip.pretrained.download_pretrained(dict(known)))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights of {name}:{tag} could not be fetched: {' '.join(str(error).split())[:300]}",
            hint="check the network, or write NAME:FILE with a file of weights",
        ) from error


def _safe_first(file: str) -> tuple[str, ...]:
    stem, dot, suffix = file.rpartition(".")
    return (f"{stem}.safetensors", file) if dot and suffix in {"bin", "pth"} else (file,)
