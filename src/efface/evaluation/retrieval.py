"""Images looked up by the text of a class: which come first, and whether an image of the class is among them.

While the images go by, only the nearest few of each class are kept, so memory does not grow with the images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from efface.evaluation.base import Metric
from efface.records.fields import Count, Finite, Positive
from efface.types import Labels

DEPTH = 10
"""How many images of each class text are kept."""
RECALLS: tuple[tuple[Metric, int], ...] = (
    ("image_retrieval_recall@1", 1),
    ("image_retrieval_recall@5", 5),
    ("image_retrieval_recall@10", 10),
)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The images nearest to each class text, nearest first.

    Attributes:
        cosines: of text and image.
        rows: the images, by their place among those that came.
    """

    cosines: Float[Tensor, "classes found"]
    rows: Int[Tensor, "classes found"]


def none_yet(classes: int) -> Nearest:
    """What is nearest before any image was seen."""
    return Nearest(torch.empty(classes, 0), torch.empty(classes, 0, dtype=torch.int64))


def nearer(known: Nearest, cosines: Float[Tensor, "batch classes"], first: int) -> Nearest:
    """The nearest of those that are known and of more images. Of equally near ones the earlier comes first.

    Args:
        known: of the images before.
        cosines: of the new images with every class text.
        first: how many images came before.
    """
    rows = torch.arange(first, first + len(cosines)).expand(len(known.rows), -1)
    all_cosines = torch.cat([known.cosines, cosines.T.float()], dim=1)
    all_rows = torch.cat([known.rows, rows], dim=1)
    order = all_cosines.argsort(dim=1, descending=True, stable=True)[:, :DEPTH]
    return Nearest(all_cosines.gather(1, order), all_rows.gather(1, order))


def recalls(nearest: Nearest, labels: Labels) -> Iterator[tuple[Metric, Bool[Tensor, " classes"]]]:
    """For each depth, whether an image of the class is among the first that its text finds.

    Depths at which every image would be found are left out.

    Args:
        nearest: what each class text finds.
        labels: the class of every image that came.
    """
    own = labels[nearest.rows] == torch.arange(len(nearest.rows))[:, None]
    for metric, depth in RECALLS:
        if depth < len(labels):
            yield metric, own[:, :depth].any(dim=1)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One of the images that the text of a forgotten class finds.

    Attributes:
        data: the source as given.
        when: by the base's towers (*before*), or by the edited ones (*after*).
        rank: from 1, the nearest.
        row: the image's place in the source, from 0.
        name: the class that it is of.
        cosine: of text and image.
        picture: where it stands on the sheet of retrieved images, from 0.
        asked: the class whose text found it.
    """

    data: str
    when: Annotated[str, Field(pattern="^(before|after)$")]
    rank: Positive
    row: Count
    name: str
    cosine: Finite
    picture: Count
    asked: str
