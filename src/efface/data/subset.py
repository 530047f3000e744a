"""Some of the images of a source."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.images import BadImages, Chosen, StoredImages
from efface.data.kinds import KeptColumns
from efface.data.symbols import SymbolImages
from efface.types import Labels, TensorImages


def some_of(data: EvalData, rows: Int[Tensor, " rows"]) -> EvalData:
    """These images of a source alone, in this order; what cannot be decoded of them is told apart from the rest's.

    Images of a kind that is neither on disk nor of the embedded world are held in memory.
    """
    kind = None if data.kind is None else replace(data.kind, rows=data.kind.rows[rows])
    data = replace(data, columns=KeptColumns(data.columns, rows.tolist()), kind=kind)
    images = data.images
    if isinstance(images, SymbolImages):
        return replace(data, images=images.chosen(rows))
    if isinstance(images, StoredImages):
        skipped = BadImages()
        kept = replace(
            images,
            rows=Chosen(images.rows, tuple(rows.tolist())),
            labels=images.labels[rows],
            skipped=None if images.skipped is None else skipped,
        )
        return replace(data, images=kept, skipped=skipped)
    ((pixels, labels),) = images.batches(len(images))
    return replace(data, images=TensorImages(pixels[rows], labels[rows]))


def drawn(labels: Labels, label: int, most: int, *, rng: torch.Generator) -> Int[Tensor, " rows"]:
    """The rows of a class, in random order; no more than ``most`` of them."""
    rows = torch.nonzero(labels == label)[:, 0]
    return rows[torch.randperm(len(rows), generator=rng)[:most]]
