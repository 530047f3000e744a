"""Texts that name nothing in particular: what a prompt says whatever class is put into it."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def nameless(others: Float[Tensor, "texts prompts dim"]) -> Float[Tensor, "prompts dim"]:
    """What is left of each prompt when the names in it are averaged away, scaled to unit length.

    An image lies nearer to a text than to this if its cosine to that text is larger than its mean cosine to all of them
    divided by the length of their mean: the more alike they are, the less it has to stand out.

    Args:
        others: one unit vector for each text of a class that stays, in each prompt; at least one text.
    """
    return F.normalize(others.mean(dim=0), dim=-1)
