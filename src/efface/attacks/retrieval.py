"""Retrieval: texts that look for images of the class in a mixed gallery, and its images that look for each other.

The gallery is all images that judge. The second needs no text at all, and shows what the image tower still knows.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.attacks.base import Asked, NotTried, Row, Trial
from efface.attacks.prompts import PARAPHRASES
from efface.evaluation.features import LAYERS
from efface.functional.neighbors import precision_at, reciprocal_rank
from efface.types import Reporter


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Retrieval:
    """Text to image, and image to image."""

    depth: int = Field(default=10, ge=1, description="images that an image finds; fewer where a class has fewer")

    name: ClassVar[str] = "retrieval"
    summary: ClassVar[str] = "texts that look for the class's images, and images that look for each other"
    tells: ClassVar[str] = "images of the class can still be looked up"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Looks up both classes in every model.

        Raises:
            NotTried: If a class has but one image, which no other could find.
        """
        del rng
        labels, rows = asked.labels("held_out"), []
        if any(int((labels == label).sum()) < 2 for _, label in asked.roles):
            raise NotTried("it needs two held-out images of the class", hint="give more with --eval")
        with reporter.stage("retrieval", len(asked.models)) as advance:
            for model in asked.models:
                rows += self._by_text(asked, model)
                rows += self._by_image(asked, model)
                advance(1)
        return tuple(rows)

    def _by_text(self, asked: Asked, model: str) -> list[Row]:
        """The share of a class among as many images as it has; and how early the first comes, over paraphrases."""
        cost = {"texts": len(PARAPHRASES)}
        # Not judged: a word that was never learned finds what no other text claims, and that may be this very class.
        share = Trial(self.name, "text to image, precision at the size of the class", "measure")
        first = Trial(self.name, "text to image, reciprocal rank over paraphrases", "measure", cost)
        images, labels, rows = asked.features(model, "held_out", "final"), asked.labels("held_out"), []
        for role, label in asked.roles:
            wanted = labels == label
            size = int(wanted.sum())
            found = precision_at(asked.texts(model)[[label]] @ images.T, wanted[None], size)
            rows.append(share.mean(model, role, found.item(), size))
            queries = torch.stack([asked.texts(model, (template,))[label] for template in PARAPHRASES])
            ranks = reciprocal_rank(queries @ images.T, wanted)
            rows.append(first.mean(model, role, ranks.double().mean().item(), len(ranks)))
        return rows

    def _by_image(self, asked: Asked, model: str) -> list[Row]:
        labels, rows = asked.labels("held_out"), []
        others = len(torch.unique(labels)) - 1
        # As many for both classes: what is found of one is compared with what is found of the other.
        k = min(self.depth, *(int((labels == label).sum()) - 1 for _, label in asked.roles))
        for layer in LAYERS:
            trial = Trial(self.name, f"image to image, precision at {k}, {layer}", "features", {"images": 1}, others)
            vectors = asked.features(model, "held_out", layer)
            centred = F.normalize(vectors - vectors.mean(dim=0), dim=1)
            for role, label in asked.roles:
                own = torch.nonzero(labels == label)[:, 0]
                cosines = centred[own] @ centred.T
                cosines[torch.arange(len(own)), own] = -torch.inf
                found = precision_at(cosines, (labels == label)[None], k)
                rows.append(trial.mean(model, role, found.double().mean().item(), len(own)))
        return rows
