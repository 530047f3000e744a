"""Pixels of some images, for attacks that need more than features."""

import torch
from jaxtyping import Int
from torch import Tensor

from efface.attacks.base import NotTried
from efface.data.holdout import EvalData
from efface.data.own import taken
from efface.types import Labels, TensorImages

Rows = Int[Tensor, " rows"]
"""Places of images among others."""


def pictures(
    data: EvalData, among: tuple[str, ...], labels: tuple[int, ...], *, most: int, rng: torch.Generator
) -> TensorImages:
    """At most so many images of some classes together, drawn without repetition.

    Args:
        data: where they are taken from.
        among: the names that labels count.
        labels: the classes.
        most: at least 1.
        rng: on the CPU.

    Returns:
        Model input on the CPU in the order in which it was drawn, without images that cannot be decoded; and their
        rows in ``among``.

    Raises:
        NotTried: If there is no such image.
        InputError: If one cannot be decoded and is not to be skipped.
    """
    known = rows_among(data, among)
    rows = torch.nonzero(torch.isin(known, torch.tensor(labels)))[:, 0]
    chosen = _some(rows, most, rng)
    if not len(chosen):
        what = " or ".join(repr(among[label]) for label in labels[:3]) or "another class"
        raise NotTried(f"{data.source!r} has no image of {what}", hint="give images of that too")
    images, kept = taken(data, chosen)
    return TensorImages(images, known[chosen][kept])


def rows_among(data: EvalData, among: tuple[str, ...]) -> Labels:
    """Of each image the row of its class in ``among``; -1 where that has no such class."""
    known = torch.tensor([among.index(name) if name in among else -1 for name in data.class_names])
    return known[data.images.labels]


def _some(rows: Rows, count: int, rng: torch.Generator) -> Int[Tensor, " chosen"]:
    return rows[torch.randperm(len(rows), generator=rng)[:count]]
