"""How alike the features are that two models give to the same images, whatever their unit and their axes."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from efface.functional.metrics import Z95

Rows = Float[Tensor, "batch _"]
"""Features of any length, an image a row."""
Likeness = Callable[[Rows, Rows], float]


def linear_cka(one: Rows, other: Rows) -> float:
    """Linear centered kernel alignment: how alike the images lie to each other in two feature spaces.

    ``||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)`` of centered features (Kornblith et al. 2019, arXiv 1905.00414),
    computed from the Gram matrices. Few directions of large variance decide it, and moving some images far away can
    change it at will (Davari et al. 2023, arXiv 2210.16156): read it beside :func:`procrustes_likeness`. Of few images
    in many dimensions it is too high, so compare only figures of as many images.

    Args:
        one: features by one model, of at least two images.
        other: of the same images by another, in as many or another number of dimensions.

    Returns:
        In [0, 1]: 1 for features that a rotation, a shift and one factor turn into each other; 0 where one of the two
        does not vary and the other does; 1 where neither varies.
    """
    first, second = (_gram(features) for features in (one, other))
    return _share((first * second).sum(), first.norm(), second.norm())


def procrustes_likeness(one: Rows, other: Rows) -> float:
    """How near a rotation brings two sets of features, both centered and scaled to the size 1.

    The nuclear norm ``||Y^T X||_* / (||X||_F ||Y||_F)``. Twice what it lacks to 1 is the squared distance that the best
    rotation leaves (Schoenemann 1966; Ding et al. 2021, arXiv 2108.01661). All directions count, each by its deviation
    rather than by its variance.

    Args:
        one: features by one model, of at least two images.
        other: of the same images by another.

    Returns:
        In [0, 1], with the same ends as :func:`linear_cka`.
    """
    first, second = (_centered(features) for features in (one, other))
    # X^T = Q R, and Q does not change singular values: what is left is as small as the images are few.
    small = [torch.linalg.qr(features.T, mode="r").R for features in (first, second)]
    nuclear = torch.linalg.svdvals(small[1] @ small[0].T).sum()
    return _share(nuclear, first.norm(), second.norm())


def centered_cosine(one: Rows, other: Rows) -> Float[Tensor, " batch"]:
    """Of each pair of rows the cosine, less the mean of all rows of the first.

    What all rows have in common would make all cosines alike. 1 where nothing changed; two that both lie at the mean
    are equal.

    Args:
        one: features of some images.
        other: of the same images by another model, in the same space.
    """
    mean = one.double().mean(dim=0)
    first, second = one.double() - mean, other.double() - mean
    sizes = first.norm(dim=1) * second.norm(dim=1)
    same = torch.where((first == second).all(dim=1), 1.0, 0.0).to(sizes)
    return torch.where(sizes > 0, (first * second).sum(dim=1) / sizes.clamp(min=1e-300), same)


def jackknifed(likeness: Likeness, one: Rows, other: Rows, *, groups: int = 10) -> tuple[float, float, float]:
    """A likeness with a 95 % interval for the choice of images, by leaving one group of them out after the other.

    Tukey 1958: with ``g`` groups the squared standard error is ``(g - 1) / g`` times the summed squared distances of
    the ``g`` figures from their mean. A bootstrap would draw images twice, and two equal images are alike in any model.

    Args:
        likeness: of two sets of features of the same images.
        one: features by one model.
        other: features by another.
        groups: at least 2; no more than there are images are made.

    Returns:
        The likeness of all images, and the ends of the interval, cut to [0, 1].

    Raises:
        ValueError: If there are fewer than three images: of one that is left nothing can be said.
    """
    count = len(one)
    if count < 3:
        raise ValueError(f"of {count} images no interval can be made")
    place = torch.arange(count, device=one.device) % min(groups, count)
    found = [likeness(one[place != group], other[place != group]) for group in range(min(groups, count))]
    mean = math.fsum(found) / len(found)
    error = math.sqrt((len(found) - 1) / len(found) * math.fsum((each - mean) ** 2 for each in found))
    value = likeness(one, other)
    return value, max(0.0, value - Z95 * error), min(1.0, value + Z95 * error)


def _centered(features: Rows) -> Rows:
    rows = features.double()
    return rows - rows.mean(dim=0)


def _gram(features: Rows) -> Float[Tensor, "batch batch"]:
    rows = _centered(features)
    return rows @ rows.T


def _share(product: Tensor, one: Tensor, other: Tensor) -> float:
    """The product over both sizes, without rounding errors beyond its ends; alike too are two that do not vary."""
    sizes = (one.item(), other.item())
    if not all(sizes):
        return 1.0 if sizes[0] == sizes[1] else 0.0
    return min(1.0, max(0.0, product.item() / math.prod(sizes)))
