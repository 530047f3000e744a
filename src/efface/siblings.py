"""Which classes are next to those that go: by the texts of all classes, or by a hierarchy that the user gives."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from efface.synthesis import NEAREST
from efface.types import ClassFeatures

Rows = Int[Tensor, " _"]
"""Some of the classes, by their place among all."""


def by_nearness(classes: ClassFeatures, targets: Sequence[int]) -> Rows:
    """All classes but the targets: those whose texts are nearest to any target's first. On the CPU.

    Args:
        classes: one unit vector a class.
        targets: rows of the classes that are to go.
    """
    rows = torch.tensor(targets)
    nearness = (classes @ classes[rows.to(classes.device)].T).max(dim=1).values.cpu()
    order = nearness.argsort(descending=True, stable=True)
    return order[~torch.isin(order, rows)]


def siblings(
    classes: ClassFeatures,
    targets: Sequence[int],
    names: Sequence[str] = (),
    hierarchy: Mapping[str, str] | None = None,
) -> Rows:
    """The classes of the targets' groups, or where there are none in them the :data:`NEAREST` by their texts.

    Args:
        classes: one unit vector a class, aliases and phrases of targets included.
        targets: rows of the classes that are to go, with their aliases and phrases; none of them is in the answer.
        names: of the first of these classes; the others have none.
        hierarchy: the group of a class, by class.
    """
    order, groups = by_nearness(classes, targets), hierarchy or {}
    of_targets = {groups[names[row]] for row in targets if row < len(names) and names[row] in groups}
    same = [row < len(names) and groups.get(names[row]) in of_targets for row in order.tolist()]
    return order[torch.tensor(same, dtype=torch.bool)] if any(same) else order[:NEAREST]
