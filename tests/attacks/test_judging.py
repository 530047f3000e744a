from dataclasses import replace

import pytest

from efface.attacks.base import Kind, Row, Trial
from efface.attacks.judging import ANY_NAME, DAMAGE, ELSEWHERE, FEW, FEW_CLASSES, Case, Thresholds, cases_of
from tests.attacks.found import plain, rows, with_control


def case(given: list[Row], thresholds: Thresholds | None = None) -> Case:
    (found,) = cases_of(given, thresholds or Thresholds())
    return found


def judged(given: list[Row]) -> tuple[str, str]:
    found = case(given)
    return found.judgement, found.why


def test_back_is_the_way_from_gold_to_the_original() -> None:
    # From 0.3 to 0.9: 0.61 is more than half of the way, 0.59 less.
    for edited, back, judgement in ((0.61, 0.31 / 0.6, "revived"), (0.59, 0.29 / 0.6, "held"), (0.3, 0.0, "held")):
        found = case(rows("probe", "features", {"reference": 0.9, "edited": edited, "gold": 0.3}))
        assert found.judgement == judgement
        assert found.back == pytest.approx(back)


def test_without_gold_images_are_told_apart_by_a_share_of_the_original_and_only_with_few_of_them() -> None:
    # The floor is 0.63, the way to the original 0.27. Far below a floor that is assumed is no harm that could be told.
    for edited, images, judgement, back in (
        (0.9, 4, "revived", 1.0),
        (0.7, 4, "held", 0.07 / 0.27),
        (0.1, 4, "held", -0.53 / 0.27),
        (0.9, 16, "shown", None),
    ):
        found = case(rows("probe", "features", {"reference": 0.9, "edited": edited}, images=images))
        assert found.judgement == judgement
        assert found.back == (None if back is None else pytest.approx(back))


def test_what_lies_below_gold_is_over_forgotten_also_where_gold_is_near_the_original() -> None:
    # With many images a class that was never learned is told apart too: nothing that is back could be told any more.
    for gold in (0.5, 0.9, 0.95):
        of = {"reference": 0.95, "edited": 0.1, "gold": gold}
        assert judged(rows("probe", "features", of, images=16)) == ("over-forgotten", "")
        assert judged(rows("probe", "features", of | {"edited": gold}, images=16))[0] != "over-forgotten"
    # What texts and images answer together is nothing without the class: it cannot be less.
    assert judged(rows("weights", "output", {"reference": 0.95, "edited": 0.0, "gold": 0.3}))[0] == "held"


@pytest.mark.parametrize("gold", [{"gold": 0.6}, {}])
def test_a_text_that_always_comes_last_is_over_forgotten_with_gold_and_without(gold: dict[str, float]) -> None:
    pushed = {"reference": 1.0, "edited": 0.01, **gold}
    assert judged(rows("place", "level", pushed)) == ("over-forgotten", "")
    assert judged(rows("place", "level", pushed | {"edited": 0.3})) == ("held", "")


def test_a_text_that_gold_puts_last_too_is_not_over_forgotten() -> None:
    assert judged(rows("place", "level", {"reference": 1.0, "edited": 0.01, "gold": 0.02})) == ("held", "")


def test_few_images_and_what_was_never_there_tell_nothing() -> None:
    few = [replace(row, n=4, low=max(0.0, row.value - 0.49), high=1.0) for row in plain(0.0, None)]
    assert judged([replace(few[0], low=0.04), few[1]]) == ("untold", FEW)
    weak = case(rows("plain", "output", {"reference": 0.15, "edited": 0.1}))
    assert (weak.judgement, weak.back, weak.why) == ("untold", None, FEW)


@pytest.mark.parametrize("gold", [{"gold": 0.5}, {}])
def test_what_is_back_by_half_and_not_known_to_lie_above_the_floor_tells_nothing(gold: dict[str, float]) -> None:
    # Of 20 images: 0.75 is half of the way from 0.5 and 0.9 two thirds of that from 0.7, and either may be as much.
    of = {"reference": 1.0, "edited": 0.75 if gold else 0.9, **gold}
    given = rows("probe", "features", of, images=4)
    few = [Trial("probe", row.setting, row.kind, row.cost).mean(row.model, row.role, row.value, 20) for row in given]
    assert judged(few) == ("untold", FEW)
    assert judged(given) == ("revived", "")


def test_what_is_assumed_of_a_class_that_was_never_learned_holds_among_enough_others() -> None:
    whole = {"reference": 0.95, "edited": 0.9}
    for others, found in ((1, ("untold", FEW_CLASSES)), (9, ("untold", FEW_CLASSES)), (10, ("revived", ""))):
        assert judged(rows("probe", "features", whole, images=4, others=others)) == found
        pushed = rows("place", "level", {"reference": 1.0, "edited": 0.0}, others=others)
        assert judged(pushed) == (("over-forgotten", "") if others == 10 else found)
    assert case(rows("probe", "features", whole, images=4, others=9)).floor is None
    # What gold measured holds among any.
    assert judged(rows("probe", "features", whole | {"gold": 0.3}, images=4, others=1)) == ("revived", "")
    assert case(rows("probe", "features", whole, images=4, others=3), Thresholds(classes=3)).judgement == "revived"


def test_a_model_that_answers_as_the_original_does_has_not_forgotten_whatever_no_name_finds() -> None:
    # Between two names, any that is not the other's fits.
    of = {"reference": 1.0, "edited": 1.0, "unknown": 1.0}
    assert judged(rows("plain", "output", of)) == ("revived", "")
    assert judged(rows("plain", "output", of | {"edited": 0.9, "unknown": 0.75})) == ("untold", ANY_NAME)
    # Gold answers so too: it is no knowledge.
    assert judged(rows("plain", "output", of | {"gold": 0.95}))[0] == "untold"
    assert judged(rows("plain", "output", of | {"gold": 0.1}))[0] == "revived"
    assert judged(rows("prompts", "output", of)) == ("untold", ANY_NAME)
    # One image that is answered otherwise, of one: that nothing is known to have fallen says nothing.
    one = [Trial("plain", row.setting, row.kind).mean(row.model, row.role, row.value, 1) for row in plain(0.0, None)]
    assert judged([replace(one[0], value=1.0, high=1.0), one[1]])[0] != "revived"


def test_a_name_that_was_never_learned_stands_where_there_is_no_gold() -> None:
    of = {"reference": 0.9, "edited": 0.75, "unknown": 0.3}
    found = case(rows("prompts", "output", of))
    assert (found.judgement, found.floor) == ("revived", 0.3)
    assert found.back == pytest.approx(0.75)


def test_what_a_name_that_was_never_learned_finds_as_well_is_not_revived() -> None:
    # Images that no text claims are found by any new one.
    for gold in ({}, {"gold": 0.0}):
        of = {"reference": 0.95, "edited": 0.6, **gold}
        assert judged(rows("prompts", "output", of | {"unknown": 0.0}))[0] == "revived"
        assert judged(rows("prompts", "output", of | {"unknown": 0.58}))[0] in ("held", "untold")


@pytest.mark.parametrize("gold", [{}, {"gold": 0.1}])
def test_a_class_that_is_taught_as_fast_as_any_name_is_not_revived(gold: dict[str, float]) -> None:
    of = {"reference": 0.98, "edited": 0.8, **gold}
    for control, judgement in ((0.05, "revived"), (0.78, "untold"), (0.9, "untold")):
        given = with_control("relearn", "training", of, {"reference": 0.9, "edited": control})
        assert judged(given)[0] == judgement
    # A fifth above the name, of the two that the original lies above it: with few images that cannot be told.
    given = with_control("relearn", "training", of, {"reference": 0.9, "edited": 0.6})
    assert judged(given) == ("revived", "")
    few = [replace(row, n=10, low=max(0.0, row.value - 0.3), high=min(1.0, row.value + 0.3)) for row in given]
    assert judged(few) == ("untold", ANY_NAME)


def test_a_control_that_answers_by_its_own_name_keeps_nothing_from_being_revived() -> None:
    kept = {"reference": 0.97, "edited": 0.97}
    given = with_control("probe", "features", {"reference": 0.95, "edited": 0.93, "gold": 0.3}, kept)
    assert judged(given) == ("revived", "")
    assert case(given).control == (0.97, 0.97)


@pytest.mark.parametrize("kind", ["output", "features"])
def test_where_the_control_falls_as_far_as_the_class_nothing_is_told(kind: Kind) -> None:
    of = {"reference": 0.95, "edited": 0.05, "gold": 0.3}
    for control, judgement in ((0.05, "untold"), (0.12, "untold"), (0.9, None), (0.5, None)):
        found, why = judged(with_control("probe", kind, of, {"reference": 0.97, "edited": control}))
        assert (found, why) == ("untold", DAMAGE) if judgement else found in ("held", "over-forgotten")


@pytest.mark.parametrize("gold", [{"gold": 0.02}, {}])
def test_a_tower_whose_control_the_original_s_texts_do_not_find_tells_nothing_by_them(gold: dict[str, float]) -> None:
    of = {"reference": 0.97, "edited": 0.9, **gold}
    for control, found in ((0.0, ("untold", ELSEWHERE)), (0.3, ("untold", ELSEWHERE)), (0.6, ("revived", ""))):
        assert judged(with_control("towers", "output", of, {"reference": 0.97, "edited": control})) == found
    # Of other attacks both towers are of one model.
    assert judged(with_control("weights", "output", of, {"reference": 0.97, "edited": 0.0})) == ("revived", "")


def test_measures_are_shown_and_rows_without_the_edited_model_are_none() -> None:
    assert judged(rows("drift", "measure", {"reference": 1.0, "edited": 0.2})) == ("shown", "")
    assert list(cases_of(rows("probe", "features", {"reference": 1.0, "gold": 0.2}), Thresholds())) == []


def test_thresholds_can_be_others() -> None:
    given = rows("probe", "features", {"reference": 0.9, "edited": 0.63, "gold": 0.3})
    assert case(given, Thresholds(revived=0.6)).judgement == "held"
    assert case(given, Thresholds(revived=0.4)).judgement == "revived"
