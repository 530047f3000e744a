"""Nearest neighbors: each image is what the attacker's nearest labelled images are; nothing is fitted at all."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.attacks.base import Asked, Row, Trial
from efface.attacks.shots import Neighborhood, neighborhood
from efface.evaluation.features import LAYERS, Layer
from efface.functional.neighbors import vote
from efface.types import Reporter


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class NearestNeighbors:
    """A vote of the nearest labelled images."""

    shots: tuple[int, ...] = Field(default=(4, 16), description="labelled images a class")
    voters: int = Field(default=5, ge=1, description="nearest images that vote")
    neighbors: int = Field(default=20, ge=1, description="classes that the class is told apart from, at most")
    draws: int = Field(default=5, ge=1, description="how often images are drawn")

    name: ClassVar[str] = "neighbors"
    summary: ClassVar[str] = "a vote of the nearest labelled images, by final and penultimate features"
    tells: ClassVar[str] = "images of the class lie together as before"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Asks the same draws of every model."""
        near = neighborhood(asked, self.neighbors)
        rows, sizes = [], near.sizes(self.shots)
        with reporter.stage("nearest neighbors", len(sizes)) as advance:
            for k in sizes:
                drawn = list(near.draws(k, self.draws, rng))
                for layer in LAYERS:
                    trial = Trial(self.name, f"k = {k}, {layer}", "features", near.cost(k), len(near.names) - 1)
                    for model in near.train:
                        found = torch.stack([self._answers(near, model, layer, rows_) for rows_ in drawn])
                        for role, label in near.roles:
                            right = (found == label)[:, near.test[model].labels == label]
                            shares = right.double().mean(dim=1).tolist()
                            rows.append(trial.over_draws(model, role, shares, right.shape[1]))
                advance(1)
        return tuple(rows)

    def _answers(self, near: Neighborhood, model: str, layer: Layer, rows: torch.Tensor) -> torch.Tensor:
        train, test = near.train[model].features[layer], near.test[model].features[layer]
        # Features that all images share would make all cosines alike.
        mean = train[rows].mean(dim=0)
        return vote(train[rows] - mean, near.labels[rows], test - mean, self.voters)
