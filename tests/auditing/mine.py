"""An attack of somebody else's."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from efface.attacks.base import Asked, NotTried, Row, Trial
from efface.types import Reporter


@dataclass(frozen=True)
class Mine:
    """Says that all of the class is back, of which it is not asked for the images."""

    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "says that it is back"
    tells: ClassVar[str] = "nothing"
    quick: ClassVar[bool] = True

    lacking: bool = False
    breaking: bool = False
    wrong: bool = False

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        del rng, reporter
        if self.lacking:
            raise NotTried("it needs the moon", hint="wait")
        if self.breaking:
            raise ZeroDivisionError("by the moon")
        trial = Trial("another" if self.wrong else self.name, "as it is", "output")
        return tuple(trial.mean(model, "forget", 1.0, 50) for model in asked.models)
