"""Checkpoint families, one file each, and the table that a model name is looked up in."""

from dataclasses import replace
from pathlib import Path

import torch

from efface.backends import sources
from efface.backends.base import CLIPBackend, LoadedCLIP
from efface.backends.open_clip import OpenCLIPBackend
from efface.backends.transformers import TransformersBackend
from efface.device import usable_device
from efface.errors import InputError
from efface.model_names import no_model

BACKENDS: tuple[CLIPBackend, ...] = (OpenCLIPBackend(), TransformersBackend())
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load(source: str | Path, *, device: str = "cpu", precision: str = "fp32") -> LoadedCLIP:
    """Loads a CLIP.

    Args:
        source: the path of a folder in the format of transformers or open_clip, or of an archive as OpenAI published
            them; ``org/repo`` for a model on the Hub in either format; ``NAME:TAG``, such as ``ViT-B-32:openai``, or
            ``NAME:FILE`` for a model that open_clip names; ``builtin:NAME`` for one that comes with efface. A folder
            or a model on the Hub that is in both formats is transformers'; ``local-dir:FOLDER`` and
            ``hf-hub:org/repo`` name open_clip's.
        device: as torch names it, such as ``cuda:0``.
        precision: ``fp32``, or ``bf16`` for towers under autocast; weights and losses stay in float32.

    Raises:
        InputError: If the name, the device or the precision cannot be used; it says what can.
    """
    source = str(source)
    if precision not in PRECISIONS:
        raise InputError(f"there is no precision {precision!r}", hint=f"use {' or '.join(PRECISIONS)}")
    plain = sources.plain_name(source)
    for backend in BACKENDS:
        if backend.accepts(plain):
            clip = backend.load(plain, device=usable_device(device), precision=PRECISIONS[precision])
            # What is loaded is called as the user named it, not by a folder in a cache or inside the package.
            return replace(clip, source=sources.shown(source), card=clip.card or sources.card_of(clip.folder))
    raise no_model(source)


def save(clip: LoadedCLIP, folder: Path) -> None:
    """Writes a CLIP in the format that it came in."""
    next(backend for backend in BACKENDS if backend.library == clip.library).save(clip, folder)
