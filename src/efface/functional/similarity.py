"""Zero-shot classification as arithmetic on features."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from efface.types import ClassFeatures, Features, Labels, Scalar


def class_features(prompt_features: Float[Tensor, "classes prompts dim"]) -> ClassFeatures:
    """One unit vector a class: the mean of the unit vectors of its texts, scaled to unit length again.

    Radford et al. 2021, section 3.1.4 (prompt ensembling in the embedding space).
    """
    return F.normalize(prompt_features.mean(dim=1), dim=-1)


def zero_shot_logits(
    image_features: Features, classes: ClassFeatures, scale: Scalar | float
) -> Float[Tensor, "batch classes"]:
    """Cosines of images with classes, times ``scale``."""
    return scale * image_features @ classes.T


def top_classes(image_features: Features, classes: ClassFeatures, k: int) -> Int[Tensor, "batch k"]:
    """The ``k`` nearest classes of each image, nearest first; all of them where there are fewer.

    Needs no logit scale: scaling leaves the order as it is.
    """
    return (image_features @ classes.T).topk(min(k, len(classes)), dim=-1).indices


def accuracy(predicted: Labels, labels: Labels) -> float:
    """The share of predictions that are right, in [0, 1]."""
    return (predicted == labels).double().mean().item()
