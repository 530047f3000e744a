"""What a synthesis is, and what it hands out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from efface.types import ClassTokens, DualEncoder, Images, Reporter, Trace


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Images made for a class.

    Attributes:
        images: model input; perhaps fewer than were asked for, or none.
        trace: one step an attempt; ``reached`` where all images asked for were accepted.
    """

    images: Images
    trace: Trace


@runtime_checkable
class Synthesizer(Protocol):
    """A way to make images: an immutable dataclass whose fields are all of its settings."""

    def __call__(
        self,
        model: DualEncoder,
        class_tokens: ClassTokens,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Synthetic:
        """Makes ``count`` images that ``model`` takes for the class in row ``target``.

        Args:
            model: only read.
            class_tokens: the texts of all classes.
            target: the row of the class.
            count: how many.
            rng: on the model's device.
            reporter: told of every accepted image.
        """
        ...
