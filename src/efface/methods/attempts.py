"""Which edit is tried after others: deeper or weaker where the guard is lost, stronger where the class stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

STRONGER, WEAKER = 1.5, 0.5


class Edit(NamedTuple):
    """What an edit is tried with.

    Attributes:
        blocks: last blocks of the image tower that move.
        strength: how far images of the class are moved.
    """

    blocks: int
    strength: float


class Tried(NamedTuple):
    """An edit, and what it came to.

    Attributes:
        edit: the edit.
        accuracy: on the images of the class.
        agreement: the share of the guard held back that is answered as before.
    """

    edit: Edit
    accuracy: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """The order in which edits are tried.

    Attributes:
        first: the edit to begin with.
        deepest: blocks of the deepest one.
        most: how many are tried.
        accuracy: on the images of the class, at which it is forgotten.
        agreement: of the guard, from which on it holds.
    """

    first: Edit
    deepest: int
    most: int
    accuracy: float
    agreement: float

    def following(self, tried: Sequence[Tried]) -> Edit | None:
        """The next edit; None where the search is at its end.

        Where the guard does not hold and never did: one with all the blocks, where the same is learned by smaller
        changes; then with half the strength. Where it holds and the class is still there: a stronger one, if none as
        strong has failed.
        """
        if not tried:
            return self.first
        last = tried[-1]
        held = [self.holds(one) for one in tried]
        if len(tried) >= self.most or (held[-1] and last.accuracy <= self.accuracy):
            return None
        if held[-1]:
            return None if not all(held) else last.edit._replace(strength=STRONGER * last.edit.strength)
        if any(held):
            return None
        if last.edit.blocks < self.deepest:
            return last.edit._replace(blocks=self.deepest)
        return last.edit._replace(strength=WEAKER * last.edit.strength)

    def holds(self, one: Tried) -> bool:
        """Whether the guard does."""
        return one.agreement >= self.agreement

    def kept(self, tried: Sequence[Tried]) -> Tried:
        """The edit that is kept: the last with which the guard holds, else the last, which is the weakest.

        Args:
            tried: at least one.
        """
        return next((one for one in reversed(tried) if self.holds(one)), tried[-1])
