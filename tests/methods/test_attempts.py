"""Which edit follows which."""

from hypothesis import given
from hypothesis import strategies as st

from efface.methods.attempts import WEAKER, Edit, Ladder, Tried, best

FIRST = Edit(1, 4.0)
LADDER = Ladder(FIRST, deepest=2, most=4, agreement=0.97)
GONE, STAYS, HOLDS, LOST = 0.05, 0.3, 0.99, 0.9


def test_the_first_edit_is_the_only_one_where_all_is_well() -> None:
    assert LADDER.following([]) == FIRST
    assert LADDER.following([Tried(FIRST, GONE, HOLDS)]) is None
    # On the very edge it is well too; that the class is still there asks for nothing.
    assert LADDER.following([Tried(FIRST, STAYS, 0.97)]) is None


def test_a_guard_that_is_lost_asks_for_a_deeper_edit_and_then_for_weaker_ones() -> None:
    tried = [Tried(FIRST, GONE, LOST)]
    for following in (Edit(2, 4.0), Edit(2, 4.0 * WEAKER), Edit(2, 4.0 * WEAKER**2)):
        assert LADDER.following(tried) == following
        tried.append(Tried(following, GONE, LOST))
    assert LADDER.following(tried) is None


def test_a_tower_without_a_deeper_block_is_edited_less() -> None:
    shallow = Ladder(FIRST, deepest=1, most=4, agreement=0.97)
    assert shallow.following([Tried(FIRST, GONE, LOST)]) == Edit(1, 4.0 * WEAKER)


@given(st.lists(st.tuples(st.sampled_from([GONE, STAYS]), st.sampled_from([HOLDS, LOST])), min_size=9, max_size=9))
def test_it_ends_with_the_first_that_holds_and_tries_none_twice(came_to: list[tuple[float, float]]) -> None:
    tried: list[Tried] = []
    while (edit := LADDER.following(tried)) is not None:
        tried.append(Tried(edit, *came_to[len(tried)]))
    assert 1 <= len(tried) <= LADDER.most
    assert len({one.edit for one in tried}) == len(tried)
    assert all(one.agreement == LOST for one in tried[:-1])
    assert tried[-1].agreement == HOLDS or len(tried) == LADDER.most


def test_no_edit_is_weaker_than_none() -> None:
    none = Edit(2, 0.0)
    assert Ladder(none, deepest=2, most=4, agreement=0.97).following([Tried(none, STAYS, LOST)]) is None


def test_the_best_is_the_one_the_guard_agrees_with_most_and_of_such_the_one_that_forgets_most() -> None:
    first, second, third, fourth = (Edit(1, float(n)) for n in range(4))
    tried = [Tried(first, GONE, 0.8), Tried(second, STAYS, 0.9), Tried(third, GONE, 0.9), Tried(fourth, GONE, 0.7)]
    assert best(tried) == 2
    assert best(tried[:2]) == 1
    assert best(tried[:1]) == 0
