"""What the tests of attacks share: models of a small world, and what they are asked."""

import torch

from efface.attacks.base import Asked, Row
from efface.backends.base import LoadedCLIP
from efface.types import TensorImages
from tests.evaluation.test_features import data_of

NAMES = ("cat", "dog", "fox")


def asked_of(clip: LoadedCLIP, edited: LoadedCLIP | None = None, **more: object) -> Asked:
    """What is asked of two models about the dog: images of noise, the cat as the control."""
    given = {
        "models": {"reference": clip, "edited": edited or clip},
        "name": "dog",
        "among": NAMES,
        "templates": ("a photo of a {}.",),
        "control": "cat",
        "images": data_of(15, "own", seed=5),
        "held_out": data_of(12, "held out"),
        "unrelated": TensorImages(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)),
        "seed": 0,
        "device": torch.device("cpu"),
    }
    return Asked(**(given | more))  # type: ignore[arg-type]


def value(rows: tuple[Row, ...], **of: str) -> float:
    """The value of the one row that is so."""
    (found,) = [row.value for row in rows if all(getattr(row, name) == wanted for name, wanted in of.items())]
    return found
