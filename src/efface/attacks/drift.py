"""Drift: how far the features of each layer moved, on the class and on what was to stay. It brings nothing back.

Of the same images the features by the reference and by another model are compared layer by layer: by linear CKA and by
what the best rotation leaves, which see only how images lie to each other; at the end of the tower also by the cosine
of the two unit vectors. A layer that nobody touched has 1 in all of them.

A model that was trained anew differs from the reference everywhere: gold's row says by how much two trainings differ,
and not how much a class changes. Where gold stands beside, compare the class's row with the control's in each model.
CKA alone says little: see :mod:`efface.functional.likeness`.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.attacks.base import REFERENCE, Asked, NotTried, Role, Row
from efface.attacks.pictures import pictures
from efface.backends.base import TowerPair
from efface.evaluation.blocks import block_features
from efface.functional.likeness import Likeness, jackknifed, linear_cka, procrustes_likeness
from efface.functional.probes import Vectors
from efface.types import DualEncoder, Images, Reporter

LIKENESS: Mapping[str, Likeness] = {
    "CKA": linear_cka,
    "Procrustes": procrustes_likeness,
}
LEAST = 3
"""Images of which an interval can be made."""


def cosine(one: Vectors, other: Vectors) -> float:
    """The mean cosine of unit vectors that are paired, in [0, 1]: below 0 counts as 0."""
    return max(0.0, min(1.0, (one * other).sum(dim=1).mean().item()))


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Drift:
    """How far features moved, layer by layer."""

    images: int = Field(default=60, ge=LEAST, description="held-out images of each kind, at most; as many of all")

    name: ClassVar[str] = "drift"
    summary: ClassVar[str] = "how far the features of each layer moved, on the class and on what was to stay"
    tells: ClassVar[str] = "layers that are as they were hold what they held"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Compares every model with the reference.

        Raises:
            NotTried: If there are fewer than three held-out images of the class, of the control or of others.
        """
        shown = self.shown(asked, rng)
        encoders = {called: clip.encoder for called, clip in asked.models.items()}
        rows: list[Row] = []
        with reporter.stage("drift", len(shown) * len(encoders)) as advance:
            for (kind, role), images in shown.items():
                before = layers_of(encoders[REFERENCE], images)
                advance(1)
                for called, encoder in encoders.items():
                    if called != REFERENCE:
                        rows += _compared(called, kind, role, before, layers_of(encoder, images))
                        advance(1)
        return tuple(rows)

    def shown(self, asked: Asked, rng: torch.Generator) -> Mapping[tuple[str, Role], Images]:
        """Equally many images of the class, of the control, and of all other classes together."""
        labels = dict(asked.roles)
        wanted: dict[tuple[str, Role], tuple[int, ...]] = {("", role): (row,) for role, row in labels.items()}
        wanted["other classes, ", "control"] = asked.others
        found = {
            of: pictures(asked.held_out, asked.among, rows, most=self.images, rng=rng).images
            for of, rows in wanted.items()
        }
        count = min(map(len, found.values()))
        if count < LEAST:
            raise NotTried(f"it needs {LEAST} held-out images of every kind, and has {count}", hint="give more")
        return {of: images[:count] for of, images in found.items()}


def layers_of(encoder: DualEncoder, images: Images) -> Mapping[str, Vectors]:
    """The features of all layers, in order: the blocks, those before the last map where they are known, and the end."""
    blocks, final = block_features(encoder, images)
    found = dict(blocks)
    if isinstance(encoder, TowerPair):
        with torch.no_grad():
            found["penultimate"] = encoder.penultimate(images.to(encoder.device)).cpu()
    return found | {"final": final}


def _compared(
    called: str, kind: str, role: Role, before: Mapping[str, Vectors], after: Mapping[str, Vectors]
) -> Iterator[Row]:
    for layer, vectors in before.items():
        for name, likeness in {**LIKENESS, **({"cosine": cosine} if layer == "final" else {})}.items():
            value, low, high = jackknifed(likeness, vectors, after[layer])
            yield Row(Drift.name, f"{kind}{layer}, {name}", "measure", called, role, value, len(vectors), low, high)
