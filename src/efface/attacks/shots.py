"""A few labelled images of a class and of its neighbors, drawn alike for all models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from efface.attacks.base import REFERENCE, Asked, NotTried, Role
from efface.evaluation.features import Gathered
from efface.evaluation.probe import draw
from efface.types import Labels

Rows = Int[Tensor, " rows"]


@dataclass(frozen=True, slots=True)
class Neighborhood:
    """The forgotten class and the classes with the nearest texts, as the attacker has images of them.

    Attributes:
        names: the forgotten class first, then its neighbors, nearest first.
        train: features of the attacker's images by each model; labels are rows of ``names``.
        test: features of the images that judge, of the forgotten class and of the control alone.
        roles: the two, each with its row in ``names``.
    """

    names: tuple[str, ...]
    train: Mapping[str, Gathered]
    test: Mapping[str, Gathered]
    roles: tuple[tuple[Role, int], ...]

    @property
    def labels(self) -> Labels:
        """The classes of the attacker's images."""
        return next(iter(self.train.values())).labels

    def sizes(self, shots: Sequence[int], label: int | None = None) -> tuple[int, ...]:
        """The numbers of images a class that can be drawn: one that no class has is the most that one has, once.

        Args:
            shots: the numbers that are asked for.
            label: of this class alone; None for all.
        """
        counts = torch.bincount(self.labels)
        most = int(counts.max() if label is None else counts[label])
        return tuple(dict.fromkeys(min(k, most) for k in shots))

    def cost(self, shots: int) -> dict[str, float | int | str]:
        """What ``shots`` images a class cost: of the forgotten class there may be fewer."""
        paid: dict[str, float | int | str] = {"images a class": shots}
        own = int((self.labels == 0).sum())
        return paid | ({"images of the class": own} if own < shots else {})

    def draws(self, shots: int, count: int, rng: torch.Generator) -> Iterator[Rows]:
        """So many times the rows of ``shots`` images a class; where no class has more, once is enough."""
        most = int(torch.bincount(self.labels).max())
        for _ in range(count if shots < most else 1):
            yield draw(self.labels, shots, rng=rng)


def neighborhood(asked: Asked, count: int) -> Neighborhood:
    """The class, and as many others as there are images of, up to ``count``: those with the nearest texts.

    The texts are the reference's. The control is always among the others.

    Raises:
        NotTried: If the attacker has no images of the class, or of none other.
    """
    (_, own), (_, control) = asked.roles
    known = set(asked.labels("images").tolist())
    for label, name in ((own, asked.name), (control, asked.control)):
        if label not in known:
            raise NotTried(f"it needs images of {name!r} too", hint="give some with --images")
    near = (asked.texts(REFERENCE) @ asked.texts(REFERENCE)[own]).argsort(descending=True, stable=True).tolist()
    others = [label for label in near if label in known and label in asked.others]
    chosen = [own, control, *others[: count - 1]]
    chosen.sort(key=lambda label: (label != own, near.index(label)))
    judged = [label if label in (own, control) else None for label in chosen]
    train = {model: _kept(gathered, chosen) for model, gathered in asked.gathered("images").items()}
    test = {model: _kept(gathered, judged) for model, gathered in asked.gathered("held_out").items()}
    roles: tuple[tuple[Role, int], ...] = (("forget", 0), ("control", chosen.index(control)))
    return Neighborhood(tuple(asked.among[label] for label in chosen), train, test, roles)


def _kept(gathered: Gathered, chosen: Sequence[int | None]) -> Gathered:
    """The images of some classes, each under the place of its class among them."""
    place = {label: row for row, label in enumerate(chosen) if label is not None}
    rows = torch.tensor([row for row, label in enumerate(gathered.labels.tolist()) if label in place])
    kept = gathered.take(rows)
    return Gathered(torch.tensor([place[label] for label in kept.labels.tolist()]), kept.features, kept.digests)
