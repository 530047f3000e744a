"""Averages of the weights along a course of training."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from efface.functional.averaging import beta_ratios, moving_average, weighted_average
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
        held: the average so far, by name; of the last weights, which need no average, nothing. An average of factors of
            low rank would be another.
        ratios: of the Beta distribution, what each value after the first counts over all before it.
    """

    kind: Kind
    copy: Adapted
    steps: int
    decay: float
    beta: float
    held: dict[str, Tensor] = field(init=False)
    ratios: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.held = {} if self.kind == "none" else self.copy.weights()
        self.ratios = beta_ratios(self.steps, self.beta).tolist() if self.kind == "beta" else []

    @property
    def weights(self) -> dict[str, Tensor]:
        """The average so far, by the names of the weights."""
        return self.copy.weights() if self.kind == "none" else self.held

    @torch.no_grad()
    def add(self, done: int) -> None:
        """Takes in the weights after so many steps."""
        now = {} if self.kind == "none" else self.copy.weights()
        for name, weight in now.items():
            if self.kind == "ema":
                self.held[name] = moving_average(self.held[name], weight, self.decay)
            else:
                self.held[name] = weighted_average(self.held[name], weight, self.ratios[done - 1])

    def state(self) -> dict[str, Tensor]:
        """So far, on the CPU: the argument of :meth:`load_`."""
        return {name: weight.cpu() for name, weight in self.held.items()}

    def load_(self, state: dict[str, Tensor]) -> None:
        """Goes back to a state."""
        self.held = {name: weight.to(self.held[name].device) for name, weight in state.items()}
