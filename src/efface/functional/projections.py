"""Directions in feature space, and linear maps that remove them."""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from efface.types import ClassFeatures


def distinct_direction(
    classes: ClassFeatures, target: int, *, ridge: float, besides: Collection[int] = ()
) -> Float[Tensor, " dim"]:
    r"""What the target's class text does not share with the other class texts.

    ``u = w - A (A + ridge I)^-1 w`` with ``A = R^T R``, where ``w`` is the target's class text and the rows of ``R``
    are the others: ``w`` less its ridge projection on their span. With ``ridge`` 0 this is the part of ``w`` that is
    orthogonal to all others, which is nothing where they span the space; a large ``ridge`` gives ``w`` itself.
    Close to the closed form of Mishra et al. 2025 (arXiv 2512.14137).

    Args:
        classes: unit rows.
        target: the row to single out.
        ridge: at least 0; in units of the squared singular values of ``R``.
        besides: rows that are to be forgotten too, and so are none of the others.

    Returns:
        ``u`` in float64; shorter than 1.
    """
    rows = classes.double()
    w = rows[target]
    others = rows[[row for row in range(len(rows)) if row != target and row not in besides]]
    gram = others.T @ others
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # w - A (A + r I)^-1 w = r (A + r I)^-1 w; the pseudo-inverse gives the limit at ridge 0.
    shared: Tensor = torch.linalg.pinv(others) @ (others @ w)
    rest: Tensor = torch.linalg.solve(gram + ridge * eye, ridge * w) if ridge > 0 else w - shared
    return rest


def orthonormal(directions: Float[Tensor, "directions dim"], *, least: float) -> Float[Tensor, "basis dim"]:
    """An orthonormal basis of what the directions span, by Gram and Schmidt: the first keeps its own course.

    Args:
        directions: of any length.
        least: a direction of which the earlier ones leave less than this, in length, adds nothing.
    """
    basis = directions.new_empty((0, directions.shape[1]))
    for direction in directions:
        # Twice: what rounding leaves of the others after once is above that of a division.
        rest = direction
        for _ in range(2 if len(basis) else 0):
            rest = rest - basis.T @ (basis @ rest)
        length = rest.norm()
        if length >= least:
            basis = torch.cat([basis, rest[None] / length])
    return basis


def damping_map(basis: Float[Tensor, "basis dim"], strength: float) -> Float[Tensor, "dim dim"]:
    """The map ``M`` for which ``f @ M`` is ``f`` less ``strength`` times its component in a subspace.

    Args:
        basis: orthonormal rows that span it.
        strength: 0 changes nothing, 1 removes the component, above 1 turns it round.
    """
    eye = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
    return eye - strength * (basis.T @ basis)
