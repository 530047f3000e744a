"""Which edit is tried after others that lost their guard: with a firm guard, then deeper, then weaker ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WEAKER = 0.5
FIRMER = 2.4
"""What strength is multiplied with where the guard is firm: it bears more, and more is needed against it."""


class Edit(NamedTuple):
    """What an edit is tried with.

    Attributes:
        blocks: last blocks of the image tower that move.
        strength: how far images of the class are moved.
        firm: whether the guard weighs more.
    """

    blocks: int
    strength: float
    firm: bool = False


class Tried(NamedTuple):
    """An edit, and what it came to.

    Attributes:
        edit: the edit.
        accuracy: on the images of the class.
        agreement: the share of the guard held back that is answered as before.
        kept: the share of a class's guard images that is answered as before, for the class that keeps least.
    """

    edit: Edit
    accuracy: float
    agreement: float
    kept: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """The order in which edits are tried.

    Attributes:
        first: the edit to begin with.
        deepest: blocks of the deepest one.
        most: how many are tried.
        agreement: of the guard, from which on it holds,
        kept: and of every class of the guard.
    """

    first: Edit
    deepest: int
    most: int
    agreement: float
    kept: float

    def holds(self, one: Tried) -> bool:
        """Whether the guard does, as a whole and class by class."""
        return one.agreement >= self.agreement and one.kept >= self.kept

    def following(self, tried: Sequence[Tried]) -> Edit | None:
        """The next edit; None after one with which the guard holds, after the last, and where none is weaker.

        First one with a firm guard; then with all the blocks, where the same is learned by smaller changes; then with
        half the strength.
        """
        if not tried:
            return self.first
        last = tried[-1].edit
        if len(tried) >= self.most or self.holds(tried[-1]) or not last.strength:
            return None
        if not last.firm:
            return last._replace(strength=FIRMER * last.strength, firm=True)
        if last.blocks < self.deepest:
            return last._replace(blocks=self.deepest)
        return last._replace(strength=WEAKER * last.strength)

    def best(self, tried: Sequence[Tried]) -> int:
        """Which of the edits the guard is nearest to holding with; of several the one that left least of the class."""

        def worth(i: int) -> tuple[float, float]:
            one = tried[i]
            short = (
                min(came / asked, 1.0) if asked else 1.0
                for came, asked in ((one.agreement, self.agreement), (one.kept, self.kept))
            )
            return min(short), -one.accuracy

        return max(range(len(tried)), key=worth)
