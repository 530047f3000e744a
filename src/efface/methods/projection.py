"""Projection: damp the class's own direction in the last image weights; of several classes, all theirs together.

The direction ``u`` is what the class text does not share with the other class texts (a ridge residual); every image
embedding ``f`` becomes ``f - strength (f.u) u``. Closed form, no images, no training; the text tower stays as it is.
Of several targets each has its direction, distinct from all that is kept; what they span is damped as one.

After Mishra et al. 2025 (arXiv 2512.14137), who remove the span of the class texts; the ridge keeps what the class
shares with the others. Use when a quick answer with little collateral is wanted. Weak when the model may be probed:
every feature before the last projection is as it was, and the map can be undone.
Cost: the class texts, one linear solve.
"""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.encoding import encode_classes
from efface.errors import InputError
from efface.functional.projections import damping_map, distinct_direction, orthonormal
from efface.types import DualEncoder, ForgetData, Needs, Reporter, Trace

SHORTEST = 1e-4
"""A direction shorter than this is rounding error: the other class texts span the class's."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
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
        """Folds the map into the last image weights. It has no stop rule to miss, so its goal counts as reached.

        Raises:
            InputError: If a target's text is nothing that the other classes do not hold.
        """
        del rng
        with reporter.stage("projecting", 1) as advance:
            classes = encode_classes(reference, data.class_tokens)
            directions = torch.stack(
                [distinct_direction(classes, t, ridge=self.ridge, besides=data.targets) for t in data.targets]
            )
            lengths = [direction.norm().item() for direction in directions]
            if min(lengths) < SHORTEST:
                raise InputError(
                    f"the other class texts leave a direction of length {min(lengths):.1g} to this class, "
                    "which is nothing",
                    hint=f"raise ridge above {self.ridge:g}",
                )
            model.fold_image_map_(damping_map(orthonormal(directions, least=SHORTEST), self.strength))
            advance(1)
        steps = tuple({"direction_length": length, "strength": self.strength} for length in lengths)
        damped = "the class's own direction was" if len(lengths) == 1 else "the targets' own directions were"
        reason = f"{damped} damped; this method has no stop rule, so the scores alone tell"
        return Trace(steps, reached=True, reason=reason)
