import pytest

from efface.attacks.base import Row, Trial
from efface.attacks.judging import Thresholds
from efface.attacks.verdict import judge
from tests.attacks.found import N, likeness, one, plain, rows, with_control

BACK = {"reference": 0.95, "edited": 0.9, "gold": 0.0}


@pytest.mark.parametrize("gold", [0.0, None])
def test_the_original_is_not_forgotten(gold: float | None) -> None:
    found = judge(plain(0.98, gold))
    assert (found.word, found.where, found.revived) == ("not forgotten", "everywhere", True)
    assert one(found, "plain") == ("revived", pytest.approx(1.0))
    assert found.reasons[0] == "the model answers with the class as it is"


def test_what_features_show_again_was_suppressed_at_the_output() -> None:
    for edited, word in ((0.61, "suppressed at the output"), (0.59, "removed from features")):
        found = judge([*plain(0.0), *rows("probe", "features", {"reference": 0.9, "edited": edited, "gold": 0.3})])
        assert (found.word, found.revived) == (word, edited > 0.6)


def test_gold_passes_against_itself() -> None:
    of = {"reference": 0.95, "edited": 0.4, "gold": 0.4}
    found = judge([*plain(0.0), *rows("probe", "features", of), *rows("relearn", "training", of)])
    assert (found.word, found.where, found.revived) == ("removed from features", "nowhere", False)
    assert found.reasons == ("no attack that could tell brought the class back",)


def test_where_a_class_is_back_goes_from_the_cheapest_place_to_the_dearest() -> None:
    towers, weights = rows("towers", "output", BACK), rows("weights", "output", BACK)
    probe, relearn = rows("probe", "features", BACK), rows("relearn", "training", BACK)
    for given, where in (
        ([*likeness(1.0, 1.0), *towers, *weights, *probe], "texts"),
        # The image tower was edited too, if by too little: that texts were moved is not all.
        ([*likeness(0.9, 0.8), *towers, *weights, *probe], "weights"),
        ([*likeness(0.9, 0.8), *towers], "features"),
        ([*weights, *probe], "weights"),
        ([*probe, *relearn], "features"),
        (relearn, "training"),
    ):
        assert judge([*plain(0.0), *given]).where == where


def probes(before: float) -> list[Row]:
    """What probes find before the last map and after it."""
    of = {"reference": 0.95, "gold": 0.3}
    return [
        *rows("probe", "features", of | {"edited": before}, "k = 4, penultimate"),
        *rows("probe", "features", of | {"edited": 0.9}, "k = 4, final"),
    ]


def test_a_last_map_alone_is_told_by_features_and_not_by_what_probes_find_in_them() -> None:
    def where(before: float, penultimate: float, final: float) -> str:
        return judge([*plain(0.0), *likeness(penultimate, final), *probes(before)]).where

    # Another draw of the probe's images, or a rounded weight, changes nothing in where the class is.
    assert where(0.95, 1.0, 0.4) == "last map"
    assert where(0.94, 0.9995, 0.4) == "last map"
    # Probes that find the same in features that moved.
    assert where(0.95, 0.9, 0.4) == "features"
    # The image tower is as it was: its last map hides nothing.
    assert where(0.95, 1.0, 1.0) == "features"
    assert judge([*plain(0.0), *probes(0.95)]).where == "features"


def test_a_step_to_the_base_comes_before_the_last_map_and_both_are_said() -> None:
    # A soup of a model of which a method edits the last map alone.
    found = judge([*plain(0.0), *likeness(1.0, 0.6), *rows("weights", "output", BACK), *probes(0.95)])
    assert found.where == "weights"
    assert found.reasons[0].startswith("a small change of the weights")
    assert found.reasons[1].startswith("penultimate features of the class's images are as they were")


def test_what_lies_below_gold_is_over_forgotten() -> None:
    below = judge([*plain(0.0), *rows("probe", "features", {"reference": 0.95, "edited": 0.1, "gold": 0.5})])
    assert (below.word, below.revived) == ("over-forgotten", False)
    assert below.reasons[0].startswith("over-forgotten by probe, as it is: 10.0 %")


def test_what_was_never_there_tells_nothing() -> None:
    assert judge(rows("plain", "output", {"reference": 0.15, "edited": 0.1})).word == "nothing told"
    # The place of a text is no attempt to bring the class back.
    level = [*rows("plain", "output", {"reference": 0.15, "edited": 0.1}), *rows("plain", "level", BACK, "place")]
    assert judge(level).reasons == ("too little to tell by in some settings of plain",)
    found = judge(rows("drift", "measure", {"reference": 1.0, "edited": 0.2}))
    assert found.findings[0].reason == "measured, and not judged"


def test_a_class_that_any_name_could_be_taught_as_fast_as_is_not_back() -> None:
    of = {"reference": 0.98, "edited": 0.8, "gold": 0.1}
    fast = judge([*plain(0.0), *with_control("relearn", "training", of, {"reference": 0.9, "edited": 0.8})])
    assert (fast.where, fast.revived) == ("nowhere", False)
    assert fast.reasons[-1] == "a name that was never learned comes as far in some settings of relearn"
    slow = judge([*plain(0.0), *with_control("relearn", "training", of, {"reference": 0.9, "edited": 0.1})])
    assert (slow.where, slow.revived) == ("training", True)


def test_damage_is_told_from_forgetting_by_the_control() -> None:
    trial = Trial("plain", "as it is", "output")
    control = [trial.mean("reference", "control", 1.0, N), trial.mean("edited", "control", 0.4, N)]
    assert "fell from 100.0 to 40.0 %" in judge([*plain(0.0), *control]).reasons[-1]
    kept = [control[0], trial.mean("edited", "control", 0.98, N)]
    assert "fell" not in " ".join(judge([*plain(0.0), *kept]).reasons)


def test_a_model_that_knows_nothing_any_more_has_not_forgotten_the_class() -> None:
    ruined = {"reference": 0.95, "edited": 0.05, "gold": 0.05}
    fallen = {"reference": 0.95, "edited": 0.05}
    attacks = (("plain", "output"), ("probe", "features"))
    found = judge([row for name, kind in attacks for row in with_control(name, kind, ruined, fallen)])  # type: ignore[arg-type]
    assert (found.word, found.revived) == ("nothing told", False)
    assert "the control, which was to stay, fell as far in some settings of plain, probe" in found.reasons


def test_the_reason_names_attack_setting_figures_and_cost() -> None:
    back = with_control(
        "prototype",
        "features",
        {"reference": 0.9, "edited": 0.8, "gold": 0.2},
        {"reference": 0.9, "edited": 0.88},
        images=1,
    )
    found = judge([*plain(0.0), *back])
    expected = "as it is: 80.0 %, the original 90.0 %, never learned 20.0 %, the control 88.0 %; cost: images: 1"
    assert f"revived by prototype, {expected}" in found.reasons
    assert {finding.attack: finding.judgement for finding in found.findings} == {
        "plain": "held",
        "prototype": "revived",
    }


def test_what_failed_makes_the_verdict_incomplete() -> None:
    found = judge(plain(0.0), failed={"relearn": "RuntimeError: out of memory"})
    assert found.incomplete == ("relearn",)
    assert found.reasons[-1] == "incomplete: relearn failed, and says nothing: RuntimeError: out of memory"
    assert judge(plain(0.0)).incomplete == ()


def test_thresholds_can_be_others() -> None:
    given = [*plain(0.0), *rows("probe", "features", {"reference": 0.9, "edited": 0.63, "gold": 0.3})]
    assert judge(given, Thresholds(revived=0.6)).revived is False
    assert judge(given, Thresholds(revived=0.4)).revived is True
