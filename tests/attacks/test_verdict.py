from dataclasses import replace
from typing import Any

import pytest

from efface.attacks.base import Kind, Row, Trial
from efface.attacks.verdict import Thresholds, Verdict, judge

N = 100


def rows(attack: str, kind: Kind, of: dict[str, float], setting: str = "as it is", **cost: int) -> list[Row]:
    """One setting of an attack, with the value of each model."""
    trial = Trial(attack, setting, kind, cost)
    return [trial.mean(model, "forget", value, N) for model, value in of.items()]


def plain(edited: float, gold: float | None = 0.0) -> list[Row]:
    return rows("plain", "output", {"reference": 0.98, "edited": edited} | ({} if gold is None else {"gold": gold}))


def one(verdict: Verdict, attack: str) -> tuple[str, Any]:
    (case,) = [case for case in verdict.cases if case.attack == attack]
    return case.judgement, case.back


@pytest.mark.parametrize("gold", [0.0, None])
def test_the_original_is_not_forgotten(gold: float | None) -> None:
    found = judge(plain(0.98, gold))
    assert (found.word, found.where, found.revived) == ("not forgotten", "everywhere", True)
    assert one(found, "plain") == ("revived", pytest.approx(1.0))
    assert found.reasons[0] == "the model answers with the class as it is"


def test_back_is_the_way_from_gold_to_the_original() -> None:
    # From 0.3 to 0.9: 0.61 is more than half of the way, 0.59 less.
    for edited, back, judgement in ((0.61, 0.31 / 0.6, "revived"), (0.59, 0.29 / 0.6, "held"), (0.3, 0.0, "held")):
        found = judge([*plain(0.0), *rows("probe", "features", {"reference": 0.9, "edited": edited, "gold": 0.3})])
        assert one(found, "probe") == (judgement, pytest.approx(back))
        assert found.word == ("suppressed at the output" if judgement == "revived" else "removed from features")
        assert found.revived == (judgement == "revived")


def test_gold_passes_against_itself() -> None:
    of = {"reference": 0.95, "edited": 0.4, "gold": 0.4}
    found = judge([*plain(0.0), *rows("probe", "features", of), *rows("relearn", "training", of)])
    assert (found.word, found.where, found.revived) == ("removed from features", "nowhere", False)
    assert found.reasons == ("no attack that could tell brought the class back",)


def test_where_a_class_is_back_goes_from_the_cheapest_place_to_the_dearest() -> None:
    back = {"reference": 0.95, "edited": 0.9, "gold": 0.0}
    towers, weights = rows("towers", "output", back), rows("weights", "output", back)
    probe, relearn = rows("probe", "features", back), rows("relearn", "training", back)
    for given, where in (
        ([*towers, *weights, *probe], "texts"),
        ([*weights, *probe], "weights"),
        ([*probe, *relearn], "features"),
        (relearn, "training"),
    ):
        assert judge([*plain(0.0), *given]).where == where


def test_a_last_map_alone_is_told_by_features_that_are_equal_to_the_last_digit() -> None:
    def probes(before: float) -> list[Row]:
        return [
            *rows("probe", "features", {"reference": 0.95, "edited": before, "gold": 0.3}, "k = 4, penultimate"),
            *rows("probe", "features", {"reference": 0.95, "edited": 0.9, "gold": 0.3}, "k = 4, final"),
        ]

    assert judge([*plain(0.0), *probes(0.95)]).where == "last map"
    assert judge([*plain(0.0), *probes(0.94)]).where == "features"


def test_without_gold_images_are_told_apart_by_a_share_of_the_original_and_only_with_few_of_them() -> None:
    def found(edited: float, images: int) -> Verdict:
        of = {"reference": 0.9, "edited": edited}
        return judge([*plain(0.0, None), *rows("probe", "features", of, images=images)])

    # The floor is 0.63, the way to the original 0.27.
    assert one(found(0.9, 4), "probe") == ("revived", pytest.approx(1.0))
    assert one(found(0.7, 4), "probe") == ("held", pytest.approx(0.07 / 0.27))
    assert one(found(0.9, 16), "probe") == ("shown", None)
    # Far below the floor is no harm that could be told without gold.
    assert one(found(0.1, 4), "probe")[0] == "held"


def test_what_lies_below_gold_or_always_comes_last_is_over_forgotten() -> None:
    below = judge([*plain(0.0), *rows("probe", "features", {"reference": 0.95, "edited": 0.1, "gold": 0.5})])
    assert (below.word, below.revived) == ("over-forgotten", False)
    # A text that always comes last says so with gold and without.
    for gold in ({"gold": 0.6}, {}):
        pushed = {"reference": 1.0, "edited": 0.01, **gold}
        assert one(judge([*plain(0.0), *rows("place", "level", pushed)]), "place")[0] == "over-forgotten"
        assert one(judge([*plain(0.0), *rows("place", "level", pushed | {"edited": 0.3})]), "place")[0] == "held"
    # That of a class that gold puts last too is no harm.
    assert one(judge(rows("place", "level", {"reference": 1.0, "edited": 0.01, "gold": 0.02})), "place")[0] == "held"


def test_few_images_and_what_was_never_there_tell_nothing() -> None:
    few = [replace(row, n=4, low=max(0.0, row.value - 0.49), high=1.0) for row in plain(0.0, None)]
    assert one(judge([replace(few[0], low=0.04), few[1]]), "plain") == ("untold", pytest.approx(0.0))
    weak = rows("plain", "output", {"reference": 0.15, "edited": 0.1})
    assert one(judge(weak), "plain") == ("untold", None)
    assert judge(weak).word == "nothing told"


def test_measures_are_shown_and_an_unknown_class_stands_for_gold() -> None:
    found = judge(rows("drift", "measure", {"reference": 1.0, "edited": 0.2}))
    assert one(found, "drift") == ("shown", None)
    assert found.findings[0].reason == "measured, and not judged"
    of = {"reference": 0.9, "edited": 0.75, "unknown": 0.3}
    assert one(judge(rows("relearn", "training", of, images=16)), "relearn") == ("revived", pytest.approx(0.75))


def test_damage_is_told_from_forgetting_by_the_control() -> None:
    trial = Trial("plain", "as it is", "output")
    control = [trial.mean("reference", "control", 1.0, N), trial.mean("edited", "control", 0.4, N)]
    assert "fell from 100.0 to 40.0 %" in judge([*plain(0.0), *control]).reasons[-1]
    kept = [control[0], trial.mean("edited", "control", 0.98, N)]
    assert "fell" not in " ".join(judge([*plain(0.0), *kept]).reasons)


def test_the_reason_names_attack_setting_figures_and_cost() -> None:
    back = rows("prototype", "features", {"reference": 0.9, "edited": 0.8, "gold": 0.2}, "k = 1", images=1)
    found = judge([*plain(0.0), *back])
    expected = "k = 1: 80.0 %, the original 90.0 %, never learned 20.0 %; cost: images: 1"
    assert f"revived by prototype, {expected}" in found.reasons
    assert {finding.attack: finding.judgement for finding in found.findings} == {
        "plain": "held",
        "prototype": "revived",
    }


def test_thresholds_can_be_others() -> None:
    given = [*plain(0.0), *rows("probe", "features", {"reference": 0.9, "edited": 0.63, "gold": 0.3})]
    assert judge(given, Thresholds(revived=0.6)).revived is False
    assert judge(given, Thresholds(revived=0.4)).revived is True
