from collections.abc import Callable

from efface.noting import Checkpoint, State, Unkept, Within


def test_the_checkpoint_of_a_part_holds_the_whole_and_is_taken_once() -> None:
    noted: list[State] = []

    class Outer(Unkept):
        def offer(self, state: Callable[[], State]) -> None:
            noted.append(state())

    inner = Within(Within(Outer(), None, lambda: {"a": 1}), {"c": 0}, lambda: {"b": 2})
    assert inner.take() == {"c": 0}
    assert inner.take() is None
    inner.offer(lambda: {"c": 3})
    assert noted == [{"a": 1, "part": {"b": 2, "part": {"c": 3}}}]
    assert isinstance(inner, Checkpoint)
