"""Checkpoint families, one file each, and the table that a model name is looked up in."""

import os
from dataclasses import replace
from pathlib import Path

import torch

from efface.backends import builtin, open_clip
from efface.backends.base import CLIPBackend, LoadedCLIP
from efface.backends.open_clip import OpenCLIPBackend
from efface.backends.transformers import TransformersBackend
from efface.errors import InputError

BACKENDS: tuple[CLIPBackend, ...] = (OpenCLIPBackend(), TransformersBackend())
FORMS = (
    "write local-dir:FOLDER in open_clip's format, NAME:TAG such as ViT-B-32:openai, "
    "the path of a folder in transformers' format, or builtin:NAME"
)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load(source: str | Path, *, device: str = "cpu", precision: str = "fp32") -> LoadedCLIP:
    """Loads a CLIP.

    Args:
        source: ``local-dir:FOLDER`` in open_clip's format; ``NAME:TAG``, such as ``ViT-B-32:openai``; the path of a
            folder in transformers' format; or ``builtin:NAME`` for a model that comes with efface.
        device: as torch names it, such as ``cuda:0``.
        precision: ``fp32``, or ``bf16`` for towers under autocast; weights and losses stay in float32.

    Raises:
        InputError: If the name, the device or the precision cannot be used; it says what can.
    """
    source = str(source)
    if precision not in PRECISIONS:
        raise InputError(f"there is no precision {precision!r}", hint=f"use {' or '.join(PRECISIONS)}")
    # What is loaded is called as the user named it, not by a folder inside the package.
    plain = builtin.resolve(source) if source.startswith(builtin.BUILTIN) else source
    for backend in BACKENDS:
        if backend.accepts(plain):
            clip = backend.load(plain, device=usable_device(device), precision=PRECISIONS[precision])
            return clip if plain == source else replace(clip, source=source)
    raise InputError(f"{source!r} does not name a model that can be loaded", hint=_hint(source))


def save(clip: LoadedCLIP, folder: Path) -> None:
    """Writes a CLIP in the format that it came in."""
    next(backend for backend in BACKENDS if backend.library == clip.library).save(clip, folder)


def _hint(source: str) -> str:
    """How to write the name of a folder in open_clip's format, or of the model of a run folder, if it is one."""
    folder = Path(os.path.expanduser(source))
    if (folder / open_clip.CONFIG).is_file():
        return f"write {open_clip.LOCAL}{source}"
    inside = folder / "model"
    if (inside / open_clip.CONFIG).is_file():
        return f"write {open_clip.LOCAL}{inside}"
    return f"write {inside}" if TransformersBackend().accepts(str(inside)) else FORMS


def usable_device(name: str) -> torch.device:
    """The device of this name, after trying it.

    Raises:
        InputError: If torch does not know it, or it is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the device {name!r} cannot be used: {reason}", hint="use cpu, or cuda where there is one"
        ) from None
    return device
