"""One edit of :class:`~efface.methods.reassign.Reassign`: what a step sees, and its loss; an even or a firm guard."""

from dataclasses import dataclass

import torch

from efface.cut import CutTower
from efface.functional.distillation import row_divergence
from efface.functional.handover import distance_loss
from efface.methods.base import Batch
from efface.methods.course import Course
from efface.methods.pool import Pool
from efface.types import Features, Scalar


@dataclass(frozen=True, slots=True)
class Guarding:
    """How the guard is held.

    Attributes:
        rate: what the learning rate is multiplied with.
        weight: of the loss on the guard.
        rows: weight of the divergence of its rows of similarities to all classes, in nats.
        own: the share of a step's guard that is of classes; the rest is drawn from all of it, mostly leaves and copies.
    """

    rate: float
    weight: float
    rows: float
    own: float


EVEN = Guarding(rate=1.0, weight=1.0, rows=0.0, own=0.0)
FIRM = Guarding(rate=3.0, weight=10.0, rows=0.3, own=0.5)
"""Where an edit lost the guard. AdamW hardly feels how long a gradient is: what this changes is its direction."""


@dataclass(frozen=True, slots=True)
class Handing:
    """What the hooks of one edit share.

    Attributes:
        tower: the edited one.
        pool: what is trained on.
        wanted: what is taught, a row each.
        course: draws.
        sizes: images of the class a step, and of the guard.
        how: the guard is held.
    """

    tower: CutTower
    pool: Pool
    wanted: Features
    course: Course
    sizes: tuple[int, int]
    how: Guarding

    def batch(self) -> Batch:
        """What the tail starts from, and the rows that it is of, drawn with replacement: those of the class first."""
        pool, draw, (n, of_guard) = self.pool, self.course.draw, self.sizes
        own = int(self.how.own * of_guard) if pool.guard else 0
        parts = [draw(0, pool.forget, n), draw(pool.forget, len(self.wanted), of_guard - own)]
        if own:
            parts.append(draw(pool.forget, pool.forget + pool.guard, own))
        rows = torch.cat(parts)
        return pool.activations[rows], rows

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        """Distances to what is taught, of the class and of the guard; of a firm one, the divergence of its rows too."""
        (activations, rows), how, n = batch, self.how, self.sizes[0]
        features, wanted = self.tower.features(activations), self.wanted[rows]
        of_class, of_guard = (distance_loss(features[part], wanted[part]) for part in (slice(n), slice(n, None)))
        terms = {"class": of_class, "guard": how.weight * of_guard}
        if how.rows:
            scale = self.tower.model.logit_scale.detach()
            terms["rows"] = how.rows * row_divergence(features[n:], wanted[n:], self.pool.classes, scale)
        return terms
