"""Which edit follows which, and which of them is kept."""

from hypothesis import given
from hypothesis import strategies as st

from efface.methods.attempts import STRONGER, WEAKER, Edit, Ladder, Tried

FIRST = Edit(1, 4.0)
LADDER = Ladder(FIRST, deepest=2, most=4, accuracy=0.1, agreement=0.97)
GONE, STAYS, HOLDS, LOST = 0.05, 0.3, 0.99, 0.9


def test_the_first_edit_is_the_only_one_where_all_is_well() -> None:
    assert LADDER.following([]) == FIRST
    assert LADDER.following([Tried(FIRST, GONE, HOLDS)]) is None
    # On the very edge of both it is well too.
    assert LADDER.following([Tried(FIRST, 0.1, 0.97)]) is None


def test_a_guard_that_is_lost_asks_for_a_deeper_edit_and_then_for_weaker_ones() -> None:
    tried = [Tried(FIRST, GONE, LOST)]
    for following in (Edit(2, 4.0), Edit(2, 4.0 * WEAKER), Edit(2, 4.0 * WEAKER**2)):
        assert LADDER.following(tried) == following
        tried.append(Tried(following, GONE, LOST))
    assert LADDER.following(tried) is None
    assert LADDER.kept(tried) == tried[-1]


def test_a_tower_without_a_deeper_block_is_edited_less() -> None:
    shallow = Ladder(FIRST, deepest=1, most=4, accuracy=0.1, agreement=0.97)
    assert shallow.following([Tried(FIRST, GONE, LOST)]) == Edit(1, 4.0 * WEAKER)


def test_a_class_that_stays_asks_for_stronger_edits_until_the_guard_is_lost() -> None:
    first = Tried(FIRST, STAYS, HOLDS)
    stronger = LADDER.following([first])
    assert stronger == Edit(1, 4.0 * STRONGER)
    lost = Tried(stronger, GONE, LOST)
    assert LADDER.following([first, lost]) is None
    assert LADDER.kept([first, lost]) == first
    better = Tried(stronger, 0.2, HOLDS)
    assert LADDER.following([first, better]) == Edit(1, 4.0 * STRONGER**2)
    assert LADDER.kept([first, better]) == better


def test_a_weaker_edit_that_holds_is_the_end() -> None:
    # As strong a one as before was too much.
    tried = [Tried(FIRST, GONE, LOST), Tried(Edit(2, 4.0), STAYS, HOLDS)]
    assert LADDER.following(tried) is None
    assert LADDER.kept(tried) == tried[-1]


@given(st.lists(st.tuples(st.sampled_from([GONE, STAYS]), st.sampled_from([HOLDS, LOST])), min_size=9, max_size=9))
def test_it_ends_and_keeps_one_that_holds_if_any_does(came_to: list[tuple[float, float]]) -> None:
    tried: list[Tried] = []
    while (edit := LADDER.following(tried)) is not None:
        tried.append(Tried(edit, *came_to[len(tried)]))
    assert 1 <= len(tried) <= LADDER.most
    assert len({one.edit for one in tried}) == len(tried)
    assert LADDER.holds(LADDER.kept(tried)) == any(LADDER.holds(one) for one in tried)
