"""The class as everybody asks for it: no attack, and what all attacks are compared with.

Beside the accuracy stands how high the class's text comes among all names for images of the class. A class that was
never learned comes somewhere in between; one that always comes last was pushed there, and can be told by that.

The likeness of features to the original's says which part of the image tower changed: it is the mean cosine of the
images' vectors, less what all images that judge have in common in the original, which would make all cosines alike.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from efface.attacks.base import (
    EDITED,
    FINAL_LIKENESS,
    PENULTIMATE_LIKENESS,
    PLAIN,
    REFERENCE,
    UNKNOWN,
    Asked,
    Row,
    Trial,
)
from efface.evaluation.features import Layer
from efface.functional.likeness import centered_cosine
from efface.types import Reporter

LIKENESS: tuple[tuple[Layer, str], ...] = (("penultimate", PENULTIMATE_LIKENESS), ("final", FINAL_LIKENESS))


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Plain:
    """Zero-shot accuracy on the class, and the place of its text."""

    name: ClassVar[str] = PLAIN
    summary: ClassVar[str] = "the class by its own name, and how high its text comes among all names"
    tells: ClassVar[str] = "the model still answers with the class"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Asks every model about the images that judge."""
        del rng
        accuracy = Trial(self.name, "by its name", "output")
        place = Trial(self.name, "place of its text", "level", others=len(asked.among) - 1)
        labels, rows = asked.labels("held_out"), []
        with reporter.stage("plain", len(asked.models)) as advance:
            for model in asked.models:
                cosines = asked.features(model, "held_out", "final") @ asked.texts(model).T
                for role, label in asked.roles:
                    near = cosines[labels == label]
                    rows.append(accuracy.row(model, role, near.argmax(dim=1) == label))
                    farther = (near < near[:, [label]]).double().sum(dim=1) / (near.shape[1] - 1)
                    rows.append(place.mean(model, role, farther.mean().item(), len(near)))
                rows += self._likeness(asked, model)
                advance(1)
        own = asked.features(EDITED, "held_out", "final")[labels == asked.own]
        rows.append(accuracy.row(UNKNOWN, "forget", (own @ asked.unnamed(EDITED).T).argmax(dim=1) == asked.own))
        return tuple(rows)

    def _likeness(self, asked: Asked, model: str) -> Iterator[Row]:
        labels = asked.labels("held_out")
        for layer, setting in LIKENESS:
            before, after = (asked.features(of, "held_out", layer) for of in (REFERENCE, model))
            cosines = centered_cosine(before, after).clamp(0, 1)
            for role, label in asked.roles:
                mine = cosines[labels == label]
                yield Trial(self.name, setting, "measure").mean(model, role, mine.mean().item(), len(mine))
