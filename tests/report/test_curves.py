import io
import xml.etree.ElementTree as ET

from efface.report.curves import curves


def words(steps: list[dict[str, object]]) -> list[str]:
    found = [ET.parse(io.StringIO(svg)).getroot() for svg in curves(steps)]
    return [root.get("aria-label") or "" for root in found]


def test_every_number_that_varies_has_a_curve_with_words() -> None:
    steps: list[dict[str, object]] = [
        {"round": i, "loss": 2.0 - i, "accuracy": 0.5, "kept": i == 1, "tensors": ["a"], "soup_weight": i / 10}
        for i in range(3)
    ]
    assert words(steps) == [
        "loss by step: 2 at step 1, 0 at step 3, between 0 and 2.",
        "soup_weight by step: 0 at step 1, 0.2 at step 3, between 0 and 0.2.",
    ]


def test_steps_that_do_not_report_a_number_are_left_out() -> None:
    assert words([{"loss": 3.0}, {"noise": 0.1}, {"loss": 1.0}]) == [
        "loss by step: 3 at step 1, 1 at step 3, between 1 and 3."
    ]


def test_one_step_or_none_makes_no_curve() -> None:
    assert words([{"loss": 1.0}]) == words([]) == []


def test_of_many_numbers_eight_are_shown() -> None:
    assert len(words([{f"n{i}": i for i in range(20)}, {f"n{i}": i + 1 for i in range(20)}])) == 8


def test_a_search_is_drawn_over_what_it_searched_for_tower_by_tower() -> None:
    def step(towers: str, coefficient: float, accuracy: float) -> dict[str, object]:
        return {"towers": towers, "coefficient": coefficient, "image_coefficient": coefficient, "accuracy": accuracy}

    # By bisection, then of one tower alone; what came before are steps.
    searched = [step("image and text", 1.0, 0.0), step("image and text", 0.0, 0.9), step("image and text", 0.5, 0.25)]
    alone = [step("text", 1.0, 0.5), step("text", 0.0, 0.75)]
    assert words([{"accuracy": 1.0}, {"accuracy": 0.5}, *searched, *alone]) == [
        "accuracy by step: 1 at step 1, 0.5 at step 2, between 0.5 and 1.",
        "accuracy by coefficient of image and text: 0.9 at coefficient 0, 0 at coefficient 1, between 0 and 0.9.",
        "accuracy by coefficient of text: 0.75 at coefficient 0, 0.5 at coefficient 1, between 0.5 and 0.75.",
    ]
    drawn = ET.fromstring(curves(searched)[0])
    said = [text.text for text in drawn.iter() if text.tag.endswith("text")]
    assert "accuracy by coefficient of image and text" in said
