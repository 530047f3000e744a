"""Looking vectors up by other vectors: votes of the nearest, and how early what is wanted comes."""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

TEMPERATURE = 0.07
"""How fast a neighbor's vote falls with its cosine: Wu et al., CVPR 2018 (arXiv 1805.01978)."""


def vote(
    known: Float[Tensor, "known channels"],
    labels: Int[Tensor, " known"],
    asked: Float[Tensor, "asked channels"],
    k: int,
) -> Int[Tensor, " asked"]:
    """The class of each vector by the ``k`` known ones with the largest cosine ``c``, which vote by ``exp(c / 0.07)``.

    Args:
        known: at least one, of any length above 0.
        labels: their classes, from 0.
        asked: of any length above 0.
        k: at least 1; all where there are fewer.
    """
    cosines, rows = (F.normalize(asked, dim=1) @ F.normalize(known, dim=1).T).topk(min(k, len(known)), dim=1)
    weights = ((cosines - 1) / TEMPERATURE).exp()
    votes = cosines.new_zeros((len(asked), int(labels.max()) + 1)).scatter_add(1, labels[rows], weights)
    return votes.argmax(dim=1)


def reciprocal_rank(
    cosines: Float[Tensor, "queries items"], wanted: Bool[Tensor, " items"]
) -> Float[Tensor, " queries"]:
    """One over the place, from 1, at which the first wanted item comes for each query; of equal ones the earlier first.

    Args:
        cosines: of queries and items.
        wanted: at least one of the items.
    """
    order = cosines.argsort(dim=1, descending=True, stable=True)
    return 1 / (1 + wanted[order].int().argmax(dim=1).float())


def precision_at(
    cosines: Float[Tensor, "queries items"], wanted: Bool[Tensor, "#queries items"], k: int
) -> Float[Tensor, " queries"]:
    """The share of wanted ones among the first ``k`` items of each query.

    Args:
        cosines: of queries and items; minus infinity for an item that a query may not find.
        wanted: by query and item, or the same for all queries.
        k: from 1 to the number of items.
    """
    first = cosines.topk(k, dim=1).indices
    return wanted.expand_as(cosines).gather(1, first).float().mean(dim=1)
