"""Contrastive losses of a batch in which images may share a text.

A batch of ``batch`` images has ``texts`` different texts, each encoded once. Both losses below are those of the full
``batch`` x ``batch`` matrix, in which a text stands once for each of its images: a text that stands ``c`` times enters
a sum over texts with the weight ``c``. Equal texts are positives of each other's images, never negatives.

Every row of ``positive`` has exactly one True; a text without an image has no weight.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from efface.types import Features, Scalar

Texts = Float[Tensor, "texts dim"]
"""Text features of unit length, one row a different text."""
Positive = Bool[Tensor, "batch texts"]
"""Which text is an image's own."""


def positives(image_texts: Int[Tensor, " batch"], texts: Int[Tensor, " texts"]) -> Positive:
    """Which text is an image's own.

    Args:
        image_texts: the number of the text of each image.
        texts: the numbers of the different texts.
    """
    return image_texts[:, None] == texts[None, :]


def clip_loss(images: Features, texts: Texts, scale: Scalar, positive: Positive) -> Scalar:
    """The symmetric cross-entropy of images and texts.

    In the full matrix the target of an image is uniform over the columns that hold its text, and that of a column is
    uniform over the images of its text: the bidirectional loss of UniCL (Yang et al. 2022, equations 3 and 4). With all
    texts different it is CLIP's (Radford et al. 2021, figure 3). An image whose text stands ``c`` times cannot get
    below ``log c``, as its target is spread over ``c`` equal columns.

    Args:
        images: image features of unit length.
        texts: features of the different texts.
        scale: what cosines are multiplied with, above 0.
        positive: which text is an image's own.

    Returns:
        The mean of both directions, in nats, at least 0.
    """
    logits = scale * images @ texts.T
    counts = positive.sum(dim=0).to(logits.dtype)
    own = (logits * positive).sum() / len(images)
    # A text that stands c times puts c equal terms into an image's partition sum: c exp(s) = exp(s + log c).
    of_images = torch.logsumexp(logits + counts.log(), dim=1).mean()
    of_texts = (counts * torch.logsumexp(logits, dim=0)).sum() / len(images)
    return (of_images + of_texts) / 2 - own


def siglip_loss(images: Features, texts: Texts, scale: Scalar, bias: Scalar, positive: Positive) -> Scalar:
    """The sigmoid loss: every pair of an image and a text is a yes or a no of its own.

    Zhai et al. 2023, algorithm 1: the sum over all pairs of the full matrix, over the number of images.

    Args:
        images: image features of unit length.
        texts: features of the different texts.
        scale: what cosines are multiplied with, above 0.
        bias: what is added to them then.
        positive: which text is an image's own.

    Returns:
        The loss in nats, at least 0.
    """
    logits = scale * images @ texts.T + bias
    counts = positive.sum(dim=0).to(logits.dtype)
    losses = F.softplus(torch.where(positive, -logits, logits))
    return (counts * losses).sum() / len(images)
