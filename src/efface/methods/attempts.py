"""Which edit is tried after others that lost their guard: with a firm guard, then deeper, then weaker ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from efface.errors import counted

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
        kept: of the guard images that were answered with one class, the share that still is, for the class that keeps
            least,
        classes: of so many.
    """

    edit: Edit
    accuracy: float
    agreement: float
    kept: float
    classes: float


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

        First one with a firm guard, :data:`FIRMER` times as strong; then with all the blocks, where the same is learned
        by smaller changes; then with half of that strength, and half again.
        """
        if not tried:
            return self.first
        last = tried[-1].edit
        if len(tried) >= self.most or self.holds(tried[-1]):
            return None
        if not last.firm:
            return last._replace(strength=FIRMER * last.strength, firm=True)
        if last.blocks < self.deepest:
            return last._replace(blocks=self.deepest)
        return last._replace(strength=WEAKER * last.strength) if last.strength else None

    def best(self, tried: Sequence[Tried]) -> int:
        """Which of the edits the guard is nearest to holding with; of several the one that left least of the class.

        What is short by most counts first, as a share of what was asked for, then the other.
        """

        def worth(i: int) -> tuple[float, float, float]:
            one = tried[i]
            asked = ((one.agreement, self.agreement), (one.kept, self.kept))
            has = [min(came / least, 1.0) if least else 1.0 for came, least in asked]
            return min(has), sum(has), -one.accuracy

        return max(range(len(tried)), key=worth)


def told_of_class(one: Tried, labels: Sequence[int]) -> str:
    """What is left of the class on its images, or at most of each name, in words.

    Args:
        one: an edit.
        labels: of the images.
    """
    images, names = counted(len(labels), "image"), len(set(labels))
    if names > 1:
        return f"of {images} of {names} names no name has more than {one.accuracy:.1%} given to one of these"
    return f"{one.accuracy:.1%} of the {images} of the class that were worked on are answered with it"


def told_of_guard(one: Tried) -> str:
    """How the guard fares, in words: as a whole, and class by class where one has images enough."""
    whole = f"{one.agreement:.1%} of the surer half of the guard held back as before"
    if not one.classes:
        return whole
    classes = "one other class" if one.classes == 1 else f"each of {one.classes:.0f} other classes"
    return f"{whole}, and at least {one.kept:.0%} of the guard images, trained on mostly, of {classes}"
