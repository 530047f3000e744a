"""What the tests of attacks share: models of a small world, and what they are asked."""

from typing import get_args

import torch

from efface.attacks.base import Asked, Row
from efface.backends.base import LoadedCLIP
from efface.types import TensorImages, Tower
from tests.evaluation.test_features import data_of

NAMES = ("cat", "dog", "fox")


def edited_of(clip: LoadedCLIP, size: float = 0.3) -> LoadedCLIP:
    """A copy with other weights in both towers, that answers otherwise."""
    copied, rng = clip.copy(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tower in get_args(Tower):
            for group in copied.encoder.weights(tower):
                for parameter in group.parameters:
                    parameter.add_(size * torch.randn(parameter.shape, generator=rng))
    return copied


def asked_of(clip: LoadedCLIP, edited: LoadedCLIP | None = None, **more: object) -> Asked:
    """What is asked of two models about the dog: images of noise, the cat as the control."""
    given = {
        "models": {"reference": clip, "edited": edited or edited_of(clip)},
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


def three_of(clip: LoadedCLIP) -> dict[str, LoadedCLIP]:
    """A model, an edited one that answers otherwise, and a copy of the latter in the place of gold."""
    edited = edited_of(clip)
    return {"reference": clip, "edited": edited, "gold": edited.copy()}


def check_own(rows: tuple[Row, ...]) -> None:
    """Of :func:`three_of`: what a row says is of its own model, and equal models are asked the same."""
    of = {
        model: [(r.setting, r.role, r.value, r.cost) for r in rows if r.model == model]
        for model in ("reference", "edited", "gold")
    }
    assert of["edited"] == of["gold"]
    assert of["edited"] != of["reference"]


def value(rows: tuple[Row, ...], **of: str) -> float:
    """The value of the one row that is so."""
    (found,) = [row.value for row in rows if all(getattr(row, name) == wanted for name, wanted in of.items())]
    return found
