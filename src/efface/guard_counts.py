"""How many synthetic images are to stand for what stays, and how many of these for the class itself."""

from efface.beside import Beside
from efface.types import Needs

OWN_SHARE = 0.25
"""The share near the class itself, where a kind of it is to go and its others are to stay."""


def guard_images(needs: Needs, beside: Beside) -> int:
    """How many synthetic images of other classes a method is handed.

    One that asks for images to stay gets as many where none are given, nor any to pick them from.
    """
    is_given = beside.retain is not None or beside.pool is not None
    return needs.guard_images or (0 if is_given else needs.retain_images)


def own_share(needs: Needs, beside: Beside) -> float:
    """The share of them that is near the class itself: none where it goes, or the method asks for other classes."""
    return OWN_SHARE if beside.where and not needs.guard_images else 0.0
