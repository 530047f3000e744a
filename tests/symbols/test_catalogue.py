from itertools import product

from efface.symbols.catalogue import (
    COLORS,
    DESIGNS,
    GROUP_OF,
    GROUPS,
    MEMBERS,
    STYLES,
    article,
    captions,
    design_names,
    is_unseen,
)


def test_the_world_is_as_rich_as_it_says() -> None:
    assert len(MEMBERS) >= 60
    assert len(GROUPS) >= 12
    assert (DESIGNS, len(COLORS), len(STYLES)) == (3, 8, 4)
    assert len(set(MEMBERS)) == len(MEMBERS)
    assert not set(MEMBERS) & {group.name for group in GROUPS}


def test_each_member_has_its_group_and_three_names_of_designs() -> None:
    assert len(GROUP_OF) == len(MEMBERS)
    for row, member in enumerate(MEMBERS):
        assert member in GROUPS[GROUP_OF[row]].members
        assert len(set(design_names(row))) == DESIGNS


def test_unseen_combinations_leave_each_part_of_a_member_in_pre_training() -> None:
    for member in range(len(MEMBERS)):
        unseen = [pair for pair in product(range(8), range(4)) if is_unseen(member, *pair)]
        assert len(unseen) == 4
        assert {style for _, style in unseen} == set(range(4))
        seen = set(product(range(8), range(4))) - set(unseen)
        assert {color for color, _ in seen} == set(range(8))


def test_equal_captions_in_one_place_mean_images_that_are_alike_in_what_is_named() -> None:
    """Same member, color and style gives the same texts; the last place tells all three apart."""
    places = list(zip(*(captions(*each) for each in product(range(len(MEMBERS)), range(8), range(4))), strict=True))
    assert len(set(places[0])) == len(MEMBERS)
    assert len(set(places[4])) == len(GROUPS)
    assert len(set(places[-1])) == len(MEMBERS) * 32


def test_the_longest_caption_says_all() -> None:
    knight = MEMBERS.index("knight")
    red = list(COLORS).index("red")
    said = captions(knight, red, list(STYLES).index("outline"))
    assert said[-1] == "a red knight, a chess piece, drawn in outline"
    assert said[1] == "a knight"
    assert said[4] == "a chess piece"


def test_articles() -> None:
    assert article("anchor") == "an anchor"
    assert article("euro") == "a euro"
    assert article("one") == "a one"
    assert article("knight") == "a knight"
