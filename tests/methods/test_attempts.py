"""Which edit follows which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.methods.attempts import FIRMER, WEAKER, Edit, Ladder, Tried

FIRST = Edit(1, 4.0)
FIRM = Edit(1, 4.0 * FIRMER, True)
LADDER = Ladder(FIRST, deepest=2, most=4, agreement=0.97, kept=0.5)
GONE, STAYS, HOLDS, LOST = 0.05, 0.3, 0.99, 0.9
ALL = 1.0


def test_the_first_edit_is_the_only_one_where_all_is_well() -> None:
    assert LADDER.following([]) == FIRST
    assert LADDER.following([Tried(FIRST, GONE, HOLDS, ALL)]) is None
    # On the very edge it is well too; that the class is still there asks for nothing.
    assert LADDER.following([Tried(FIRST, STAYS, 0.97, 0.5)]) is None


@pytest.mark.parametrize("lost", [(LOST, ALL), (HOLDS, 0.4)])
def test_a_guard_that_is_lost_in_all_or_in_a_class_is_made_firm_then_the_edit_deeper_and_then_weaker(
    lost: tuple[float, float],
) -> None:
    tried = [Tried(FIRST, GONE, *lost)]
    for following in (FIRM, FIRM._replace(blocks=2), Edit(2, 4.0 * FIRMER * WEAKER, True)):
        assert LADDER.following(tried) == following
        tried.append(Tried(following, GONE, *lost))
    assert LADDER.following(tried) is None


def test_a_tower_without_a_deeper_block_is_edited_less() -> None:
    shallow = Ladder(FIRST, deepest=1, most=4, agreement=0.97, kept=0.5)
    tried = [Tried(FIRST, GONE, LOST, ALL), Tried(FIRM, GONE, LOST, ALL)]
    assert shallow.following(tried) == Edit(1, 4.0 * FIRMER * WEAKER, True)


@given(
    st.lists(
        st.tuples(st.sampled_from([GONE, STAYS]), st.sampled_from([HOLDS, LOST]), st.sampled_from([ALL, 0.4])),
        min_size=9,
        max_size=9,
    )
)
def test_it_ends_with_the_first_that_holds_and_tries_none_twice(came_to: list[tuple[float, float, float]]) -> None:
    tried: list[Tried] = []
    while (edit := LADDER.following(tried)) is not None:
        tried.append(Tried(edit, *came_to[len(tried)]))
    assert 1 <= len(tried) <= LADDER.most
    assert len({one.edit for one in tried}) == len(tried)
    assert all(one.agreement == LOST or one.kept < ALL for one in tried[:-1])
    assert (tried[-1].agreement, tried[-1].kept) == (HOLDS, ALL) or len(tried) == LADDER.most


def test_no_edit_is_weaker_than_none() -> None:
    none = Edit(2, 0.0)
    ladder = Ladder(none, deepest=2, most=4, agreement=0.97, kept=0.5)
    assert ladder.following([Tried(none, STAYS, LOST, ALL)]) is None


def tried(*came_to: tuple[float, float, float]) -> list[Tried]:
    return [Tried(Edit(1, float(n)), *one) for n, one in enumerate(came_to)]


def test_the_best_is_the_one_that_lacks_least_of_its_guard_and_of_such_the_one_that_forgets_most() -> None:
    one = tried((GONE, 0.8, ALL), (STAYS, 0.9, ALL), (GONE, 0.9, ALL), (GONE, 0.7, ALL))
    assert [LADDER.best(one[:n]) for n in (1, 2, 3, 4)] == [0, 1, 2, 2]
    # A class with half of what it must keep is worse than a whole with nine tenths of what it must.
    assert LADDER.best(tried((GONE, HOLDS, 0.25), (STAYS, 0.9, 0.5), (GONE, 0.4, ALL))) == 1
    # More than is asked for is worth nothing.
    assert LADDER.best(tried((STAYS, ALL, ALL), (GONE, 0.97, 0.5))) == 1


def test_nothing_asked_of_the_guard_is_always_held() -> None:
    free = Ladder(FIRST, deepest=1, most=4, agreement=0.0, kept=0.0)
    assert free.following(tried((GONE, 0.0, 0.0))) is None
    assert free.best(tried((STAYS, 0.0, 0.0), (GONE, 0.0, 0.0))) == 1
