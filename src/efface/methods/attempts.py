"""Which edit is tried after others that lost their guard: a deeper one, then weaker ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WEAKER = 0.5


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
        agreement: of the guard, from which on it holds.
    """

    first: Edit
    deepest: int
    most: int
    agreement: float

    def following(self, tried: Sequence[Tried]) -> Edit | None:
        """The next edit; None after one with which the guard holds, after the last, and where none is weaker.

        First one with all the blocks, where the same is learned by smaller changes; then with half the strength.
        """
        if not tried:
            return self.first
        last = tried[-1]
        if len(tried) >= self.most or last.agreement >= self.agreement:
            return None
        if last.edit.blocks < self.deepest:
            return last.edit._replace(blocks=self.deepest)
        weaker = last.edit._replace(strength=WEAKER * last.edit.strength)
        return weaker if weaker != last.edit else None


def best(tried: Sequence[Tried]) -> int:
    """Which of the edits agrees with the guard most; of several the one that left least of the class."""
    return max(range(len(tried)), key=lambda i: (tried[i].agreement, -tried[i].accuracy))
