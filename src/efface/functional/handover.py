"""Handing images of a class over to their second choice: the features that they are to have, in closed form."""

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.types import ClassFeatures, Features, Scalar

ROUNDS = 32
"""Of several targets, how often the one that leads most is put behind; mostly two rounds do."""
FARTHEST = 2.0
"""The most that the second choice is to lead by, in times of the distance of the two texts."""


def reassigned(features: Features, classes: ClassFeatures, targets: tuple[int, ...], margin: float) -> Features:
    """The features with the targets' lead handed over to the best of the other classes.

    Args:
        features: of unit length.
        classes: one unit vector a class.
        targets: rows of ``classes``; at least one of them is no target.
        margin: what the other class leads by afterwards, as a difference of cosines before the scaling to unit length,
            but at most :data:`FARTHEST` times the distance of the two texts; features in which it leads by as much
            already, or by more, stay as they are. So before the scaling features move by 1 plus :data:`FARTHEST` at
            most for one target: to lead with a text that is almost the target's own, nothing of the image would be
            left but the difference of the two texts.
    """
    rows = torch.tensor(targets, device=features.device)
    cosines = features @ classes.T
    second = cosines.index_fill(1, rows, -torch.inf).argmax(dim=1, keepdim=True)
    apart = torch.cdist(classes[rows], classes, compute_mode="donot_use_mm_for_euclid_dist")
    margins = (FARTHEST * apart).clamp_max(margin).T[second[:, 0]]
    moved = features
    # Behind the second choice one target may stand before it still, or be put there again by what moves another.
    for _ in range(ROUNDS if len(targets) > 1 else 1):
        cosines = moved @ classes.T
        short, first = (cosines[:, rows] - cosines.gather(1, second) + margins).max(dim=1)
        between = classes[rows[first]] - classes[second[:, 0]]
        share = short.clamp_min(0) / between.square().sum(dim=1).clamp_min(1e-12)
        moved = moved - share[:, None] * between
    is_moved = (moved != features).any(dim=1, keepdim=True)
    return torch.where(is_moved, F.normalize(moved, dim=-1), features)


@torch.no_grad()
def sure_lead(features: Features, classes: ClassFeatures, targets: tuple[int, ...], scale: Scalar) -> Scalar:
    """By how much the targets lead the other classes, each image weighted with how sure the model is of them.

    A model that is sure tells real images of the class from others by much, and much is needed to hand them over; where
    it is unsure, as much would cost the other classes.

    Args:
        features: images of the targets, of unit length.
        classes: one unit vector a class.
        targets: rows of ``classes``.
        scale: what the model multiplies cosines with.

    Returns:
        A mean over the images of a difference of cosines times a probability; at least 0.
    """
    rows = torch.tensor(targets, device=features.device)
    cosines = features @ classes.T
    sure = (scale * cosines).softmax(dim=1)[:, rows].sum(dim=1)
    lead = cosines[:, rows].max(dim=1).values - cosines.index_fill(1, rows, -torch.inf).max(dim=1).values
    weighted: Tensor = (sure * lead.clamp_min(0)).mean()
    return weighted


def distance_loss(features: Features, wanted: Features) -> Scalar:
    """Mean squared distance of unit vectors: twice what their cosines lack to 1; in [0, 4]."""
    distance: Tensor = (features - wanted).square().sum(dim=1)
    return distance.mean()


def standing_out(features: Features, classes: ClassFeatures, targets: tuple[int, ...]) -> Scalar:
    """How far the targets stand out of the other classes on the whole, to the images: a mean difference of cosines.

    A measure of how much cosines vary in a model, whether or not the second choice is near: real images of one kind are
    told from others by about as much.

    Args:
        features: images of the targets, of unit length.
        classes: one unit vector a class; at least one of them is no target.
        targets: rows of ``classes``.
    """
    rows = torch.tensor(targets, device=features.device)
    cosines = features @ classes.T
    rest = (cosines.sum(dim=1) - cosines[:, rows].sum(dim=1)) / (len(classes) - len(targets))
    apart: Tensor = (cosines[:, rows].max(dim=1).values - rest).mean()
    return apart
