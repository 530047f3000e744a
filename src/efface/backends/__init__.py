"""Checkpoint families, one file each, and the table that a model name is looked up in."""

from pathlib import Path

import torch

from efface.backends.base import CLIPBackend, LoadedCLIP
from efface.backends.open_clip import OpenCLIPBackend
from efface.errors import InputError

BACKENDS: tuple[CLIPBackend, ...] = (OpenCLIPBackend(),)
FORMS = "write local-dir:FOLDER in open_clip's format, or NAME:TAG such as ViT-B-32:openai"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load(source: str | Path, *, device: str = "cpu", precision: str = "fp32") -> LoadedCLIP:
    """Loads a CLIP.

    Args:
        source: ``local-dir:FOLDER`` in open_clip's format, or ``NAME:TAG``, such as ``ViT-B-32:openai``.
        device: as torch names it, such as ``cuda:0``.
        precision: ``fp32``, or ``bf16`` for towers under autocast; weights and losses stay in float32.

    Raises:
        InputError: If the name, the device or the precision cannot be used; it says what can.
    """
    source = str(source)
    if precision not in PRECISIONS:
        raise InputError(f"there is no precision {precision!r}", hint=f"use {' or '.join(PRECISIONS)}")
    for backend in BACKENDS:
        if backend.accepts(source):
            return backend.load(source, device=_device(device), precision=PRECISIONS[precision])
    looks_local = Path(source).is_dir()
    raise InputError(
        f"{source!r} does not name a model that can be loaded",
        hint=f"write local-dir:{source}" if looks_local else FORMS,
    )


def save(clip: LoadedCLIP, folder: Path) -> None:
    """Writes a CLIP in the format that it came in."""
    next(backend for backend in BACKENDS if backend.library == clip.library).save(clip, folder)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the device {name!r} cannot be used: {reason}", hint="use cpu, or cuda where there is one"
        ) from None
    return device
