"""Texts that name nothing in particular: what a prompt says whatever class is put into it."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def nameless(others: Float[Tensor, "texts prompts dim"]) -> Float[Tensor, "prompts dim"]:
    """What is left of each prompt when the names in it are averaged away, scaled to unit length.

    An image that is nearer to one class than to the others on the whole is nearer to that class's text than to this.

    Args:
        others: one unit vector for each text of a class that stays, in each prompt; at least one text.
    """
    return F.normalize(others.mean(dim=0), dim=-1)
