"""Images of what is to stay, picked by the reference from images without labels."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from efface.choosing import Lot, Rows, stratified
from efface.data.own import batches_of, decoded
from efface.encoding import finite
from efface.types import ClassFeatures, DualEncoder, Labels

CONFIDENT = 0.5
"""How probable the class of an image must be that is picked, at the model's own scale."""
NEAR = 0.5
"""The share of those that are picked that are to be of the siblings of what goes, where there are as many."""


@torch.no_grad()
def probabilities(model: DualEncoder, classes: ClassFeatures, lot: Lot) -> tuple[Float[Tensor, "kept classes"], Rows]:
    """How probable each class is for the images of a lot, and the places of those that could be decoded.

    Args:
        model: the reference; only read.
        classes: one unit vector a class.
        lot: images; a few at a time are held.

    Raises:
        InputError: If one cannot be decoded and is not to be skipped.
        NotFiniteError: If a feature is NaN or infinite.
    """
    found = [torch.zeros(0, len(classes))]
    for images in batches_of(lot.source, lot.rows):
        features = finite(model.encode_image(images.to(model.device)), "image")
        found.append((model.logit_scale * features @ classes.T).softmax(dim=1).cpu())
    return torch.cat(found), lot.rows[decoded(lot.source, lot.rows)]


def picked(
    probable: Float[Tensor, "images classes"],
    targets: Sequence[int],
    near: Sequence[int],
    count: int,
    *,
    rng: torch.Generator,
) -> tuple[Rows, Labels]:
    """Images that are held to be of other classes than those that go, half of them of the siblings; and of which class.

    An image counts whose most probable class is as probable as :data:`CONFIDENT` and no target.

    Args:
        probable: of each image how probable each class is.
        targets: rows of the classes that go.
        near: rows of their siblings.
        count: how many, at most.
        rng: on the CPU.
    """
    most, labels = probable.max(dim=1)
    stays = (most >= CONFIDENT) & ~torch.isin(labels, torch.tensor(targets))
    is_near = torch.isin(labels, torch.tensor(near, dtype=torch.int64))
    strata = [(stays & part).nonzero()[:, 0] for part in (is_near, ~is_near)]
    rows = stratified(strata, (NEAR, 1 - NEAR), count, rng=rng)
    return rows, labels[rows]
