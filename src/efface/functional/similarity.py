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


def pair_cosine(image_features: Features, text_features: Features) -> Scalar:
    r"""The mean cosine of images with the text that each is paired with.

    ``L_f = mean_i <f(x_i), g(t_i)> / (||f(x_i)|| ||g(t_i)||)``, which the forgetting stage of arXiv 2506.03117
    minimises over the images to forget, there as a sum.

    Args:
        image_features: of unit length; gradient flows.
        text_features: one an image, of unit length.

    Returns:
        In [-1, 1].
    """
    return (image_features * text_features).sum(dim=1).mean()
