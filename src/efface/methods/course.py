"""A course of training of a fixed length, on images that are drawn, in rounds after which it can be stopped."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from efface.cut import BATCH
from efface.methods.base import Batch, Hooks, Verdict, fit_
from efface.types import Checkpoint, Images, LabelledImages, Labels, Reporter, Scalar, Step


@dataclass(slots=True)
class Course:
    """Steps of AdamW, whose rate stays or falls by a cosine.

    Attributes:
        name: of the stage, for a reporter.
        steps: how many at most.
        every: steps a round.
        learning_rate: of the first step.
        falls: to nothing, by a cosine over all steps; else it stays.
        rng: draws what each step sees.
        done: steps so far.
        weight_decay: of AdamW.
    """

    name: str
    steps: int
    every: int
    learning_rate: float
    falls: bool
    rng: torch.Generator
    done: int = 0
    weight_decay: float = 0.0

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        fall = (1 + math.cos(math.pi * self.done / self.steps)) / 2
        return self.learning_rate * (fall if self.falls else 1.0)

    def draw(self, first: int, end: int, count: int) -> Labels:
        """Rows from ``first`` to before ``end``, with replacement."""
        return torch.randint(first, end, (count,), generator=self.rng, device=self.rng.device)

    def fit_(  # noqa: PLR0913 (a loop is what goes into it)
        self,
        weights: list[nn.Parameter],
        batch: Callable[[], Batch],
        loss: Callable[[Batch], Mapping[str, Scalar]],
        judge: Callable[[], tuple[bool, Step]],
        reporter: Reporter,
        checkpoint: Checkpoint,
        *,
        after_step: Callable[[], None] = lambda: None,
    ) -> list[Step]:
        """Trains, and returns what each round did.

        Args:
            weights: what is trained.
            batch: drawn anew for each step.
            loss: named terms, whose sum is minimised.
            judge: whether the round was the last, and what it measured.
            reporter: told of every step.
            checkpoint: see :func:`~efface.methods.base.fit_`; the steps done are the caller's to note.
            after_step: called after every step.
        """
        optimizer = torch.optim.AdamW(weights, lr=self.rate, weight_decay=self.weight_decay)
        with reporter.stage(self.name, self.steps) as advance:
            advance(self.done)

            def stepped() -> bool:
                self.done += 1
                after_step()
                for group in optimizer.param_groups:
                    group["lr"] = self.rate
                advance(1)
                return False

            def judged(_number: int) -> Verdict:
                stop, notes = judge()
                return Verdict(keep=True, stop=stop, notes=notes)

            hooks = Hooks(end_of_round=judged, after_step=stepped)
            rounds = math.ceil(self.steps / self.every)
            return fit_(optimizer, lambda: self._round(batch), loss, hooks, rounds=rounds, checkpoint=checkpoint)

    def _round(self, batch: Callable[[], Batch]) -> Iterator[Batch]:
        for _ in range(min(self.every, self.steps - self.done)):
            yield batch()


def whole(images: Sequence[LabelledImages], device: torch.device) -> tuple[Images, Labels]:
    """All images of some sets, one set after the other, and their labels."""
    batches = [batch for one in images for batch in one.batches(BATCH)]
    return torch.cat([batch.to(device) for batch, _ in batches]), torch.cat([rows.to(device) for _, rows in batches])
