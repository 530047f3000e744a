"""A prototype: the mean of a few images of the class in the place of its text.

Images lie nearer to images than to texts, so that with a prototype in a text's place nearly everything would be called
by its class, learned or not. The attacker sets a threshold against that: on images of other classes, which he has too,
at most a given share is called so.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import Asked, Row, Trial
from efface.attacks.shots import neighborhood
from efface.types import ClassFeatures, Features, Reporter


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Prototype:
    """The mean of k images of the class, against the texts of all other classes."""

    shots: tuple[int, ...] = Field(default=(1, 4, 16), description="images of the class")
    false_positives: float = Field(default=0.02, ge=0, lt=1, description="of other images that may be called so")
    neighbors: int = Field(default=20, ge=1, description="classes whose images set the threshold, at most")
    draws: int = Field(default=10, ge=1, description="how often images are drawn")

    name: ClassVar[str] = "prototype"
    summary: ClassVar[str] = "the mean of a few images in the place of the class's text"
    tells: ClassVar[str] = "a few images take the place of the text that was moved"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Puts the same images into the place of the text in every model."""
        near = neighborhood(asked, self.neighbors)
        # The mean is of images of the class alone, of which there may be fewer than of others.
        rows, sizes = [], near.sizes(self.shots, label=0)
        with reporter.stage("prototypes", len(sizes)) as advance:
            for k in sizes:
                drawn = list(near.draws(k, self.draws, rng))
                for model in near.train:
                    train, test = near.train[model], near.test[model]
                    for role, label in near.roles:
                        cost = {"images": min(k, int((near.labels == label).sum()))}
                        trial = Trial(self.name, f"k = {k}", "features", cost, len(near.names) - 1)
                        row = asked.among.index(near.names[label])
                        others = torch.cat([asked.texts(model)[:row], asked.texts(model)[row + 1 :]])
                        strange = train.features["final"][train.labels != label]
                        own = test.features["final"][test.labels == label]
                        shares = []
                        for chosen in drawn:
                            few = train.features["final"][chosen[near.labels[chosen] == label]]
                            shares.append(called(few, others, strange, own, self.false_positives))
                        rows.append(trial.over_draws(model, role, shares, len(own)))
                advance(1)
        return tuple(rows)


def called(
    few: Float[Tensor, "few dim"],
    others: ClassFeatures,
    strange: Features,
    own: Float[Tensor, "own dim"],
    false_positives: float,
) -> float:
    """The share of images of a class that are called so by a prototype, at a given share of strange images.

    An image is called so where its cosine with the prototype exceeds that with the nearest other text by more than a
    threshold, which is set so that no more strange images are than they may.

    Args:
        few: image features that the prototype is the mean of.
        others: the texts of all other classes.
        strange: image features of other classes.
        own: image features of the class.
        false_positives: the share of the strange images that may be called so.
    """
    prototype = F.normalize(few.mean(dim=0), dim=0)

    def lead(images: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        return images @ prototype - (images @ others.T).amax(dim=1)

    allowed = int(false_positives * len(strange))
    threshold = lead(strange).sort(descending=True).values[allowed]
    return (lead(own) > threshold).double().mean().item()
