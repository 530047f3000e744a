"""Directions in feature space, and linear maps that remove them."""

import torch
from jaxtyping import Float
from torch import Tensor

from efface.types import ClassFeatures


def distinct_direction(classes: ClassFeatures, target: int, *, ridge: float) -> Float[Tensor, " dim"]:
    r"""What the target's class text does not share with the other class texts.

    ``u = w - A (A + ridge I)^-1 w`` with ``A = R^T R``, where ``w`` is the target's class text and the rows of ``R``
    are the others: ``w`` less its ridge projection on their span. With ``ridge`` 0 this is the part of ``w`` that is
    orthogonal to all others, which is nothing where they span the space; a large ``ridge`` gives ``w`` itself.
    Close to the closed form of Mishra et al. 2025 (arXiv 2512.14137).

    Args:
        classes: unit rows.
        target: the row to single out.
        ridge: at least 0; in units of the squared singular values of ``R``.

    Returns:
        ``u`` in float64; shorter than 1.
    """
    rows = classes.double()
    w = rows[target]
    others = torch.cat([rows[:target], rows[target + 1 :]])
    gram = others.T @ others
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # w - A (A + r I)^-1 w = r (A + r I)^-1 w; the pseudo-inverse gives the limit at ridge 0.
    shared: Tensor = torch.linalg.pinv(others) @ (others @ w)
    rest: Tensor = torch.linalg.solve(gram + ridge * eye, ridge * w) if ridge > 0 else w - shared
    return rest


def damping_map(direction: Float[Tensor, " dim"], strength: float) -> Float[Tensor, "dim dim"]:
    """The map ``M`` for which ``f @ M`` is ``f`` less ``strength`` times its component along ``direction``.

    Args:
        direction: of unit length.
        strength: 0 changes nothing, 1 removes the component, above 1 turns it round.
    """
    eye = torch.eye(len(direction), dtype=direction.dtype, device=direction.device)
    return eye - strength * torch.outer(direction, direction)
