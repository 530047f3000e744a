"""Which edit follows which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.methods.attempts import FIRMER, WEAKER, Edit, Ladder, Tried, told_of_class, told_of_guard

FIRST = Edit(1, 4.0)
FIRM = Edit(1, 4.0 * FIRMER, True)
LADDER = Ladder(FIRST, deepest=2, most=4, agreement=0.97, kept=0.5)
GONE, STAYS, HOLDS, LOST = 0.05, 0.3, 0.99, 0.9
ALL, SOME = 1.0, 3


def test_the_first_edit_is_the_only_one_where_all_is_well() -> None:
    assert LADDER.following([]) == FIRST
    assert LADDER.following([Tried(FIRST, GONE, HOLDS, ALL, SOME)]) is None
    # On the very edge it is well too; that the class is still there asks for nothing.
    assert LADDER.following([Tried(FIRST, STAYS, 0.97, 0.5, SOME)]) is None


@pytest.mark.parametrize("lost", [(LOST, ALL), (HOLDS, 0.4)])
def test_a_guard_that_is_lost_in_all_or_in_a_class_is_made_firm_then_the_edit_deeper_and_then_weaker(
    lost: tuple[float, float],
) -> None:
    tried = [Tried(FIRST, GONE, *lost, SOME)]
    for following in (FIRM, FIRM._replace(blocks=2), Edit(2, 4.0 * FIRMER * WEAKER, True)):
        assert LADDER.following(tried) == following
        tried.append(Tried(following, GONE, *lost, SOME))
    assert LADDER.following(tried) is None


def test_a_tower_without_a_deeper_block_is_edited_less() -> None:
    shallow = Ladder(FIRST, deepest=1, most=4, agreement=0.97, kept=0.5)
    tried = [Tried(FIRST, GONE, LOST, ALL, SOME), Tried(FIRM, GONE, LOST, ALL, SOME)]
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
        tried.append(Tried(edit, *came_to[len(tried)], SOME))
    assert 1 <= len(tried) <= LADDER.most
    assert len({one.edit for one in tried}) == len(tried)
    assert all(one.agreement == LOST or one.kept < ALL for one in tried[:-1])
    assert (tried[-1].agreement, tried[-1].kept) == (HOLDS, ALL) or len(tried) == LADDER.most


def test_no_edit_is_weaker_than_none() -> None:
    """One of strength 0 hands over all the same; it can be firmer and deeper, and not weaker."""
    none = Edit(1, 0.0)
    ladder = Ladder(none, deepest=2, most=9, agreement=0.97, kept=0.5)
    tried = [Tried(none, STAYS, LOST, ALL, SOME)]
    while (following := ladder.following(tried)) is not None:
        tried.append(Tried(following, STAYS, LOST, ALL, SOME))
    assert [one.edit for one in tried] == [none, Edit(1, 0.0, True), Edit(2, 0.0, True)]


def tried(*came_to: tuple[float, float, float]) -> list[Tried]:
    return [Tried(Edit(1, float(n)), *one, SOME) for n, one in enumerate(came_to)]


def test_the_best_is_the_one_that_lacks_least_of_its_guard_and_of_such_the_one_that_forgets_most() -> None:
    one = tried((GONE, 0.8, ALL), (STAYS, 0.9, ALL), (GONE, 0.9, ALL), (GONE, 0.7, ALL))
    assert [LADDER.best(one[:n]) for n in (1, 2, 3, 4)] == [0, 1, 2, 2]
    # A class with half of what it must keep is worse than a whole with nine tenths of what it must.
    assert LADDER.best(tried((GONE, HOLDS, 0.25), (STAYS, 0.9, 0.5), (GONE, 0.4, ALL))) == 1
    # Where all lose the same class the rest of the guard counts.
    assert LADDER.best(tried((GONE, 0.6, 0.0), (STAYS, HOLDS, 0.0))) == 1
    # More than is asked for is worth nothing.
    assert LADDER.best(tried((STAYS, ALL, ALL), (GONE, 0.97, 0.5))) == 1


def test_nothing_asked_of_the_guard_is_always_held() -> None:
    free = Ladder(FIRST, deepest=1, most=4, agreement=0.0, kept=0.0)
    assert free.following(tried((GONE, 0.0, 0.0))) is None
    assert free.best(tried((STAYS, 0.0, 0.0), (GONE, 0.0, 0.0))) == 1


def test_what_came_of_it_is_said_of_one_class_or_of_each_name_and_of_a_guard_that_was_looked_at() -> None:
    one = Tried(FIRST, 0.25, 0.981, 0.6, 37)
    assert told_of_class(one, [2] * 4) == "25.0% of the 4 images of the class that were worked on are answered with it"
    assert told_of_class(one, [2]) == "25.0% of the 1 image of the class that were worked on are answered with it"
    assert told_of_class(one, [2, 2, 5]) == "of 3 images of 2 names no name has more than 25.0% given to one of these"
    whole = "98.1% of the surer half of the guard held back as before"
    looked_at = "and at least 60% of the guard images, trained on mostly, of"
    assert told_of_guard(one) == f"{whole}, {looked_at} each of 37 other classes"
    assert told_of_guard(one._replace(classes=1)) == f"{whole}, {looked_at} one other class"
    assert told_of_guard(one._replace(classes=0)) == whole
