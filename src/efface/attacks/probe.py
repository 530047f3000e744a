"""A linear probe: a new classifier of image features, fitted to a few labelled images of the class and its neighbors.

It is that of :mod:`efface.evaluation.probe`, asked about the images of the audit; docs/attacks.md says how to read it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.attacks.base import Asked, Row, Trial
from efface.attacks.shots import Neighborhood, Rows, neighborhood
from efface.evaluation.features import LAYERS
from efface.evaluation.probe import recall_by_probe
from efface.types import Reporter


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class LinearProbe:
    """Logistic regression on final and penultimate features."""

    shots: tuple[int, ...] = Field(default=(1, 4, 16), description="images a class that a probe is fitted to")
    neighbors: int = Field(default=20, ge=1, description="classes that the class is told apart from, at most")
    draws: int = Field(default=3, ge=1, description="how often images are drawn")

    name: ClassVar[str] = "probe"
    summary: ClassVar[str] = "a linear classifier on final and penultimate image features"
    tells: ClassVar[str] = "image features tell the class from its neighbors as before"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Fits probes to the same draws for every model."""
        near = neighborhood(asked, self.neighbors)
        drawn = {k: list(near.draws(k, self.draws, rng)) for k in near.sizes(self.shots)}
        rows: list[Row] = []
        with reporter.stage("linear probes", len(near.train) * len(LAYERS) * len(drawn)) as advance:
            for model in near.train:
                rows += self.of_model(model, near, drawn)
                advance(len(LAYERS) * len(drawn))
        return tuple(rows)

    def of_model(self, model: str, near: Neighborhood, drawn: Mapping[int, Sequence[Rows]]) -> tuple[Row, ...]:
        """What probes of one model know of either class.

        Args:
            model: what it is called.
            near: the classes that are told apart, with features by every model.
            drawn: by how many images a class, the training images of each draw.
        """
        train, test = near.train[model], near.test[model]
        rows: list[Row] = []
        for layer in LAYERS:
            for k, sets in drawn.items():
                recalls = [recall_by_probe(train, test, layer, rows_, len(near.names)) for rows_ in sets]
                trial = Trial(self.name, f"k = {k}, {layer}", "features", near.cost(k), len(near.names) - 1)
                for role, label in near.roles:
                    n = int((test.labels == label).sum())
                    rows.append(trial.over_draws(model, role, [recall[label] for recall in recalls], n))
        return tuple(rows)
