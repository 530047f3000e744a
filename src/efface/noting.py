"""How long work says how far it is, so that it goes on after it was stopped."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

State = Mapping[str, Any]
"""How far a procedure is: tensors, numbers, texts, and lists and tables of them."""


@runtime_checkable
class Checkpoint(Protocol):
    """Where long work notes how far it is, so that it goes on from there after it was stopped."""

    def take(self) -> State | None:
        """What was noted last by a run that was stopped; None where there is none, and after the first call."""
        ...

    def offer(self, state: Callable[[], State]) -> None:
        """Says that the work could go on from here; ``state`` is called where it is time to note it."""
        ...


class Unkept:
    """A checkpoint that keeps nothing."""

    def take(self) -> State | None:
        """Nothing."""
        return None

    def offer(self, state: Callable[[], State]) -> None:
        """Notes nothing."""
        del state


class Within:
    """The checkpoint of work that is part of other work: what that one knows is noted beside.

    Args:
        outer: the checkpoint of the whole.
        known: what the part noted last; None where it begins.
        beside: what the whole has to note when the part does; not under the name ``part``.
    """

    def __init__(self, outer: Checkpoint, known: State | None, beside: Callable[[], State]) -> None:
        self._outer, self._known, self._beside = outer, known, beside

    def take(self) -> State | None:
        """What the part noted last."""
        known, self._known = self._known, None
        return known

    def offer(self, state: Callable[[], State]) -> None:
        """Offers the whole, with the part in it."""
        self._outer.offer(lambda: {**self._beside(), "part": state()})
