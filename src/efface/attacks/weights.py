"""Small changes of the weights: a step back to the original, fewer bits, the smallest ones gone.

Models are merged, quantized and pruned without a thought of what was forgotten. A class that comes back by that was
held down by a few small weights. The control says what the change itself costs.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import BATCH, EDITED, NEVER_LEARNED, REFERENCE, UNKNOWN, Asked, Kind, Row, Trial
from efface.backends.base import LoadedCLIP
from efface.data.prompts import texts
from efface.encoding import encode_classes, finite
from efface.functional.averaging import soup
from efface.functional.quantization import rounded_to_bits, without_smallest
from efface.types import Features, Reporter, TensorImages

TURNED = ("proj", "text_projection")
"""Open_clip's last maps, which are no layers: stored with inputs as rows and outputs as columns."""
Change = Callable[[Tensor, Tensor], Tensor]
"""From a weight and that of the reference to the changed weight."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Weights:
    """Interpolation to the reference, rounding to fewer bits, pruning by magnitude."""

    steps: tuple[float, ...] = Field(default=(0.1, 0.25, 0.5), description="of the way back to the reference")
    judged: float = Field(default=0.25, ge=0, le=1, description="a longer step is measured, and not judged")
    bits: tuple[int, ...] = Field(default=(8, 4), description="of each weight, one scale an output channel")
    pruned: tuple[float, ...] = Field(default=(0.1, 0.3), description="of each weight tensor's entries, the smallest")

    name: ClassVar[str] = "weights"
    summary: ClassVar[str] = "a step back to the original, weights in fewer bits, the smallest weights gone"
    tells: ClassVar[str] = "small changes of few weights hold the class down"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Changes copies of every model and asks them about both classes."""
        del rng
        changes = list(self._changes())
        pictures = asked.pictures("held_out", (asked.name, asked.control))
        rows: list[Row] = []
        with reporter.stage("changed weights", len(changes) * len(asked.models)) as advance:
            for setting, kind, change in changes:
                trial = Trial(self.name, setting, kind, {"weights": "a copy, changed without data"})
                for model, clip in asked.models.items():
                    rows += _asked_about(asked, _changed(clip, asked.models[REFERENCE], change), pictures, trial, model)
                    advance(1)
        return tuple(rows)

    def _changes(self) -> Iterator[tuple[str, Kind, Change]]:
        for step in self.steps:
            kind: Kind = "output" if step <= self.judged else "measure"
            yield f"{step:g} of the way to the original", kind, partial(_towards, step)
        for bits in self.bits:
            yield f"int{bits}", "output", partial(_rounded, bits)
        for share in self.pruned:
            yield f"{share:.0%} of the weights pruned", "output", partial(_pruned, share)


def _asked_about(asked: Asked, clip: LoadedCLIP, pictures: TensorImages, trial: Trial, model: str) -> Iterator[Row]:
    """How a changed model answers; the edited one also where the class has a name that was never learned."""
    *classes, unnamed = encode_classes(
        clip.encoder, clip.class_tokens([texts(asked.templates, name) for name in (*asked.among, NEVER_LEARNED)])
    )
    features = _features(clip, pictures)
    found = (features @ torch.stack(classes).T).argmax(dim=1).cpu()
    for role, label in asked.roles:
        yield trial.row(model, role, found[pictures.labels == label] == label)
    if model == EDITED:
        classes[asked.own] = unnamed
        own = features[(pictures.labels == asked.own).to(features.device)]
        yield trial.row(UNKNOWN, "forget", ((own @ torch.stack(classes).T).argmax(dim=1) == asked.own).cpu())


@torch.no_grad()
def _features(clip: LoadedCLIP, pictures: TensorImages) -> Features:
    device = clip.encoder.device
    parts = [clip.encoder.encode_image(part.to(device)) for part in torch.split(pictures.images, BATCH)]
    return finite(torch.cat(parts), "image")


def _towards(step: float, weight: Tensor, original: Tensor) -> Tensor:
    return soup(original, weight, 1 - step)


def _rounded(bits: int, weight: Tensor, original: Tensor) -> Tensor:
    del original
    return rounded_to_bits(weight, bits) if weight.dim() > 1 else weight


def _pruned(share: float, weight: Tensor, original: Tensor) -> Tensor:
    del original
    return without_smallest(weight, share) if weight.dim() > 1 else weight


@torch.no_grad()
def _changed(clip: LoadedCLIP, reference: LoadedCLIP, change: Change) -> LoadedCLIP:
    """A copy of a model with changed parameters, which are changed with their outputs as rows; buffers stay."""
    copied = clip.copy()
    originals = dict(reference.encoder.module.named_parameters())
    for name, parameter in copied.encoder.module.named_parameters():
        is_turned = parameter.dim() == 2 and name.rpartition(".")[2] in TURNED
        axes = (1, 0) if is_turned else tuple(range(parameter.dim()))
        changed = change(parameter.permute(axes), originals[name].permute(axes))
        parameter.copy_(changed.permute(axes))
    return copied
