"""Projection: damp the class's own direction in the last image weights.

The direction ``u`` is what the class text does not share with the other class texts (a ridge residual); every image
embedding ``f`` becomes ``f - strength (f.u) u``. Closed form, no images, no training; the text tower stays as it is.

After Mishra et al. 2025 (arXiv 2512.14137), who remove the span of the class texts; the ridge keeps what the class
shares with the others. Use when a quick answer with little collateral is wanted. Weak when the model may be probed:
every feature before the last projection is as it was, and the map can be undone.
Cost: the class texts, one linear solve.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes
from efface.functional.projections import damping_map, distinct_direction
from efface.types import ClassFeatures, DualEncoder, ForgetData, Needs, Reporter, Trace


def projection_map(classes: ClassFeatures, target: int, *, ridge: float, strength: float) -> Float[Tensor, "dim dim"]:
    """The map for which ``f @ map`` is an image embedding with the target's own direction damped.

    Args:
        classes: unit rows, one a class.
        target: the row to damp.
        ridge: see :func:`~efface.functional.projections.distinct_direction`.
        strength: 1 removes the component along the direction, more turns it round.
    """
    direction = distinct_direction(classes, target, ridge=ridge)
    return damping_map(direction / direction.norm(), strength)


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Projection:
    """Closed-form damping of the class's own direction in the last image weights."""

    ridge: float = Field(default=0.1, ge=0, description="weight of the ridge; larger keeps more of the class text")
    strength: float = Field(default=4.0, ge=0, description="times the component that is taken away; 1 removes it")

    summary: ClassVar[str] = "closed form, no images: damps the class's own direction in the last image weights"

    @property
    def needs(self) -> Needs:
        """Nothing but the class texts."""
        return Needs()

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        """Folds the map into the last image weights. Always reaches its goal: it has no stop rule to miss."""
        del rng
        with reporter.stage("projecting", 1) as advance:
            classes = encode_classes(reference, data.class_tokens)
            direction = distinct_direction(classes, data.target, ridge=self.ridge)
            model.fold_image_map_(projection_map(classes, data.target, ridge=self.ridge, strength=self.strength))
            advance(1)
        step = {"direction_length": direction.norm().item(), "strength": self.strength}
        return Trace((step,), reached=True, reason="the class's own direction was damped in the last image weights")
