"""Averages of the weights along a course of training."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from efface.functional.averaging import beta_weights, moving_average, weighted_average
from efface.methods.subgroup.low_rank import Adapted

Kind = Literal["ema", "beta", "none"]


@dataclass(slots=True)
class Average:
    """The weights along the way as one, beginning with those that training begins with.

    Attributes:
        kind: ``ema`` for the exponential moving average, ``beta`` for CLIPood's, ``none`` for the last weights.
        copy: what is trained.
        steps: of training.
        decay: of the exponential average, a step.
        beta: of the Beta distribution, both its parameters.
        weights: the average so far, by name. An average of factors of low rank would be another.
        counts: of the Beta distribution, what each value counts.
    """

    kind: Kind
    copy: Adapted
    steps: int
    decay: float
    beta: float
    weights: dict[str, Tensor] = field(init=False)
    counts: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = self.copy.weights()
        self.counts = beta_weights(self.steps, self.beta).tolist()

    @torch.no_grad()
    def add(self, done: int) -> None:
        """Takes in the weights after so many steps."""
        now = self.copy.weights()
        ratio = self.counts[done] / sum(self.counts[:done])
        for name, weight in now.items():
            if self.kind == "ema":
                now[name] = moving_average(self.weights[name], weight, self.decay)
            elif self.kind == "beta":
                now[name] = weighted_average(self.weights[name], weight, ratio)
        self.weights = now

    def state(self) -> dict[str, Tensor]:
        """So far, on the CPU: the argument of :meth:`load_`."""
        return {name: weight.cpu() for name, weight in self.weights.items()}

    def load_(self, state: dict[str, Tensor]) -> None:
        """Goes back to a state."""
        self.weights = {name: weight.to(self.weights[name].device) for name, weight in state.items()}
