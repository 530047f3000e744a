"""What is known of every image that is being made, as one batch that images enter and leave."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from efface.types import Images, Labels

LARGEST = 5.0
"""Bound of what is climbed: the logistic function of 5 is 0.993, and far beyond it has no gradient."""


@dataclass(slots=True)
class Climbing:
    """Images that climb, a row each.

    Attributes:
        latent: pixels are the logistic function of it.
        mean: Adam's running mean of the gradient.
        square: and of its square.
        places: which of the wanted images each is for.
        ages: steps done.
        best: the highest probability that passed so far with the class as first choice; 0 for none.
        best_pixels: the image that had it.
    """

    latent: Images
    mean: Images
    square: Images
    places: Labels
    ages: Labels
    best: Float[Tensor, " batch"]
    best_pixels: Images

    def note_best(self, probability: Float[Tensor, " batch"], pixels: Images) -> None:
        """Counts a step, and keeps what is better than before, or as good."""
        better = probability >= self.best
        self.ages += 1
        self.best = torch.where(better, probability, self.best)
        self.best_pixels = torch.where(better.view(-1, 1, 1, 1), pixels, self.best_pixels)

    def values(self) -> list[Tensor]:
        """What it is made of, in the order in which it is made of it."""
        return [getattr(self, each.name) for each in fields(self)]

    def take(self, rows: Int[Tensor, " some"]) -> "Climbing":
        """Some of the images."""
        return Climbing(*(value[rows] for value in self.values()))

    def join(self, other: "Climbing") -> "Climbing":
        """These images and then the others."""
        return Climbing(*(torch.cat(pair) for pair in zip(self.values(), other.values(), strict=True)))

    def descend(self, gradient: Images, rate: Float[Tensor, " batch"], betas: tuple[float, float]) -> None:
        """A step of Adam down the gradient of a loss, each image at its own rate and with the bias of its own age."""
        ages, rate = self.ages.view(-1, 1, 1, 1), rate.view(-1, 1, 1, 1)
        self.mean = betas[0] * self.mean + (1 - betas[0]) * gradient
        self.square = betas[1] * self.square + (1 - betas[1]) * gradient.square()
        mean, square = self.mean / (1 - betas[0] ** ages), self.square / (1 - betas[1] ** ages)
        # Where there is no gradient there is no step.
        self.latent = (self.latent.detach() - rate * mean / square.sqrt().clamp_min(1e-30)).clamp(-LARGEST, LARGEST)
