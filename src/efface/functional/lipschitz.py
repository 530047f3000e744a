"""How fast what a model puts out changes between images and noisy copies of them, per length of the noise."""

import torch
from jaxtyping import Float
from torch import Tensor

from efface.types import Scalar

Noisy = Float[Tensor, "draws batch dim"]
"""What a model puts out for noisy copies; no gradient flows."""
Distance = Float[Tensor, "draws batch"]
"""Length of the noise of each copy in model input units; above 0."""


def lipschitz_loss(clean: Float[Tensor, "batch dim"], noisy: Noisy, distance: Distance) -> Scalar:
    """The change of each output over the length of its noise; a sum over the batch, a mean over the draws.

    Foster et al. 2024 (arXiv 2402.01401), the loss of JiT.

    Args:
        clean: what the model puts out for the images; gradient flows.
        noisy: for noisy copies of them.
        distance: how far the copies are.

    Returns:
        At least 0; 0 where every output equals those of its noisy copies.
    """
    moved: Tensor = (clean - noisy.detach()).norm(dim=-1)
    return (moved / distance).sum(dim=1).mean()


def joint_lipschitz_loss(
    image: Float[Tensor, "batch dim"] | None,
    text: Float[Tensor, " dim"] | Float[Tensor, "batch dim"] | None,
    noisy: Noisy,
    distance: Distance,
) -> Scalar:
    """How fast embeddings change between clean and noisy images, for the images and for their text.

    Kravets and Namboodiri 2025, the joint loss; a sum over the batch, a mean over the draws. It is the sum of its two
    terms, each of which can be left out, as in their ablation.

    Args:
        image: embeddings of the clean images, of any length; gradient flows. None leaves their term out.
        text: embedding of the class text, of any length, or one an image; gradient flows. None leaves its term out.
        noisy: embeddings of the noisy copies.
        distance: how far the copies are.

    Returns:
        At least 0; 0 where every embedding equals those of its noisy copies.

    Raises:
        ValueError: If both are left out.
    """
    noisy = noisy.detach()
    terms = [(clean - noisy).norm(dim=-1) for clean in (text, image) if clean is not None]
    if not terms:
        raise ValueError("the joint loss needs embeddings of the images, of their text, or of both")
    moved = torch.stack(terms).sum(dim=0)
    ratio: Tensor = (moved / (2 * distance)).sum(dim=1).abs()
    return ratio.mean() / 2
