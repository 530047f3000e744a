"""Images to forget and images to stay, as the first stage of ``subgroup`` trains on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from efface.cut import CutTower
from efface.functional.augment import varied
from efface.functional.handover import reassigned, standing_out
from efface.methods.subgroup.answers import Meanings
from efface.types import ClassFeatures, Features, Images, Labels


@dataclass(frozen=True, slots=True)
class Side:
    """Images that are to be forgotten, or to stay.

    Attributes:
        activations: what the tail of the model that is edited starts from, an image or a copy of one a row.
        partners: the features that they are to have, or in the published objective those to part from.
        labels: rows of the classes, of the images that come first.
    """

    activations: Tensor
    partners: Tensor
    labels: Labels


def encoded(  # noqa: PLR0913 (all that they are made of)
    tower: CutTower,
    taught: CutTower,
    images: Images,
    copies: int,
    mix: float,
    *,
    rng: torch.Generator,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, Float[Tensor, "rows dim"]]:
    """What the tail of one tower starts from, and the features of another: of the images, then of varied copies.

    Args:
        tower: that of the model that is edited.
        taught: that of the reference; the same one where an edit before this one moved nothing.
        images: model input.
        copies: of each image.
        mix: the share of the copies that mix two images.
        rng: on the model's device.
        advance: told of every image and copy.
    """
    space = taught.model.pixels
    pixels = space.denormalize(images).clamp(0, 1)
    found, features = [], []
    for number in range(1 + copies):
        shown = images if number == 0 else space.normalize(varied(pixels, rng=rng, mix=mix))
        found.append(tower.activations(shown))
        if tower is not taught:
            features.append(taught.all_features(taught.activations(shown)))
        advance(len(images))
    activations = torch.cat(found)
    return activations, torch.cat(features) if features else taught.all_features(activations)


def handed_over(
    features: Features, labels: Int[Tensor, " images"], classes: ClassFeatures, of: Meanings, strength: float
) -> Features:
    """The features of images to forget with the lead of their class handed over to the second choice.

    Args:
        features: of the images, then of their copies.
        labels: of the images.
        classes: one unit vector a class.
        of: what means the same; an image whose class stands nowhere stays as it is.
        strength: what the second choice is to lead by, in times of how far the classes that mean the same stand out on
            their images.
    """
    wanted = features.clone()
    for rows in of:
        own = torch.isin(labels, torch.tensor(rows, device=labels.device))
        if own.any():
            # Images that hardly show the class may lie nearer to others: less than nothing is no lead to hand over.
            apart = max(0.0, standing_out(features[: len(labels)][own], classes, rows).item())
            copies = own.repeat(len(features) // len(labels))
            wanted[copies] = reassigned(features[copies], classes, rows, strength * apart)
    return wanted
