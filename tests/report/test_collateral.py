import dataclasses
import io
import re
import xml.etree.ElementTree as ET

import pytest

from efface.evaluation.collateral import ClassChange
from efface.report.collateral import collateral_chart, collateral_maps
from efface.report.record import ClassScores, Record
from tests.report.sample_record import OTHERS, TARGET, TINY, named, sample

SVG = "{http://www.w3.org/2000/svg}"


def with_changes(changes: tuple[ClassChange, ...]) -> Record:
    classes = sample().classes
    return sample(classes=ClassScores(classes.before, classes.after, changes))


def planted(name: str, value: float, half: float) -> Record:
    """The record in which one class changed so, and the other classes not at all."""
    still = [dataclasses.replace(c, value=0.0, low=-0.07, high=0.07) for c in sample().classes.changes]
    moved = {"value": value, "low": value - half, "high": value + half}
    return with_changes(tuple(dataclasses.replace(c, **moved) if c.name == name else c for c in still))  # type: ignore[arg-type]


def test_what_was_lost_beyond_its_interval_comes_first() -> None:
    (found,) = collateral_maps(sample(), 4)
    assert (found.data, [row.change.name for row in found.target]) == (TINY, [TARGET])
    # sample_record: other class i changes by -i of 50, give or take 10 points.
    assert [row.change.name for row in found.hurt] == list(reversed(OTHERS[10:14]))
    assert [row.change.name for row in found.all] == list(OTHERS)
    assert [row.change.name for row in found.helped] == [OTHERS[-1]]
    assert (found.lost, found.gained, found.others) == (8, 0, 15)
    assert found.by_chance == pytest.approx(0.375)


@pytest.mark.parametrize("name", [OTHERS[0], OTHERS[-1]])
def test_planted_damage_is_ranked_first_wherever_its_text_stands(name: str) -> None:
    (found,) = collateral_maps(planted(name, -0.2, 0.1), 3)
    assert [row.change.name for row in found.hurt] == [name]
    assert found.lost == 1


def test_a_larger_loss_within_its_interval_comes_after() -> None:
    (found,) = collateral_maps(planted(OTHERS[3], -0.2, 0.1), 9)
    unsure = tuple(
        dataclasses.replace(c, value=-0.3, low=-0.7, high=0.1) if c.name == OTHERS[5] else c
        for c in planted(OTHERS[3], -0.2, 0.1).classes.changes
    )
    (found,) = collateral_maps(with_changes(unsure), 9)
    assert [row.change.name for row in found.hurt] == [OTHERS[3], OTHERS[5]]


def test_nothing_by_class_gives_no_map() -> None:
    assert collateral_maps(sample(classes=ClassScores()), 10) == ()


def test_the_chart_says_in_words_what_it_shows() -> None:
    root = ET.parse(io.StringIO(collateral_chart(sample(), TINY))).getroot()
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == root.get("aria-label")
    assert "15 other classes, of which 8 lost and 0 gained" in (title.text or "")
    assert "monarch, the forgotten class: -54.0 (-64.0 to -44.0)" in (title.text or "")
    shown = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert "jellyfish" in shown
    assert "goldfish" not in shown


def test_the_scale_is_that_of_the_other_classes() -> None:
    def heights(record: Record) -> list[float]:
        root = ET.parse(io.StringIO(collateral_chart(record, TINY))).getroot()
        (dots,) = [p for p in root.iter(f"{SVG}path") if "linecap: round" in p.get("style", "")]
        ends = re.findall(r"[ML] ([\d.]+) ([\d.]+)", dots.get("d", ""))
        assert ends[::2] == ends[1::2]
        # From the left: in the order of the text distance.
        others = [float(y) for _, y in sorted(ends[::2], key=lambda end: float(end[0]))]
        return [*others, float([use.get("y", "nan") for use in root.iter(f"{SVG}use")][-1])]

    still = planted(OTHERS[3], -0.2, 0.1)
    changes = tuple(dataclasses.replace(c, value=-0.9) if c.name == TARGET else c for c in still.classes.changes)
    *others, target = heights(with_changes(changes))
    # Downward: the planted loss stands two thirds down, and the forgotten class, lost by more, at the edge.
    assert target > max(others) == others[3]
    *before, within = heights(
        with_changes(
            tuple(dataclasses.replace(c, value=-0.25) if c.name == TARGET else c for c in still.classes.changes)
        )
    )
    assert before == others
    assert others[3] < within < target


def test_a_class_that_gained_is_named() -> None:
    record = planted(OTHERS[5], 0.3, 0.1)
    chart = collateral_chart(record, TINY)
    assert f"{OTHERS[5]}: +30.0 (+20.0 to +40.0)" in chart
    assert f"{OTHERS[5]} +30.0" in " ".join(chart.replace("\u00a0", " ").split())
    (found,) = collateral_maps(record, 3)
    assert [row.change.name for row in found.helped] == [OTHERS[5]]


def test_names_in_the_chart_are_text() -> None:
    ET.parse(io.StringIO(collateral_chart(named("<b>&"), TINY)))


def test_two_classes_of_one_name_stay_two() -> None:
    record = sample()
    parts = {}
    for part in ("before", "after", "changes"):
        target, first, _, *rest = getattr(record.classes, part)
        other = dataclasses.replace(first, value=-0.5) if part == "changes" else dataclasses.replace(first, n=49)
        parts[part] = (target, first, other, *rest)
    (found,) = collateral_maps(sample(classes=ClassScores(**parts)), len(OTHERS))
    assert found.others == len(OTHERS)
    assert [(row.before.n, row.after.n) for row in found.all[:2]] == [(50, 50), (49, 49)]
