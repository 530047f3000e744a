"""Mixed towers: the edited image tower with the original's texts, and the reverse.

Anybody has the original text tower. A class that is there again beside it was forgotten by texts alone. The reverse
says whether texts were changed; there the images are seen by the original's own tower, so it is not judged.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from efface.attacks.base import EDITED, REFERENCE, TOWERS, UNKNOWN, Asked, Row, Trial
from efface.types import Reporter


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Towers:
    """One tower of the model with the other of the reference."""

    name: ClassVar[str] = TOWERS
    summary: ClassVar[str] = "the image tower with the original's texts, and the reverse"
    tells: ClassVar[str] = "texts were moved, and the image tower answers for the class as before"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Asks every model but by its own name alone."""
        del rng
        cost = {"model": "the original's text tower"}
        image = Trial(self.name, "its images, the original's texts", "output", cost)
        text = Trial(self.name, "the original's images, its texts", "measure", {"model": "the original's image tower"})
        labels, rows = asked.labels("held_out"), []
        with reporter.stage("mixed towers", len(asked.models)) as advance:
            for model in asked.models:
                for trial, eyes, words in ((image, model, REFERENCE), (text, REFERENCE, model)):
                    nearest = (asked.features(eyes, "held_out", "final") @ asked.texts(words).T).argmax(dim=1)
                    rows += [trial.row(model, role, nearest[labels == label] == label) for role, label in asked.roles]
                advance(1)
        own = asked.features(EDITED, "held_out", "final")[labels == asked.own]
        rows.append(image.row(UNKNOWN, "forget", (own @ asked.unnamed(REFERENCE).T).argmax(dim=1) == asked.own))
        return tuple(rows)
