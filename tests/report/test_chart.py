import io
import xml.etree.ElementTree as ET

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.report.chart import before_after_chart
from efface.report.record import ClassScores, Record, Scores
from efface.report.rows import percent
from tests.report.sample_record import named, sample

SVG = "{http://www.w3.org/2000/svg}"


def nothing_measured() -> Record:
    return sample(scores=Scores(), changes=(), classes=ClassScores())


def test_title_and_label_say_the_numbers_in_words() -> None:
    root = ET.parse(io.StringIO(before_after_chart(sample()))).getroot()
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == root.get("aria-label")
    assert root.get("role") == "img"
    said = title.text or ""
    assert "images of monarch, validation.parquet: 54.0 (40.4 to 67.0) before, 0.0 (0.0 to 7.1) after" in said
    for score in sample().scores.after:
        if score.metric == "acc1" and score.towers == "both":
            assert f"{percent(score.value)} (" in said


def test_bars_and_intervals_have_the_lengths_of_their_numbers() -> None:
    root = ET.parse(io.StringIO(before_after_chart(sample()))).getroot()
    bars = [p.get("d", "") for p in root.iter(f"{SVG}path") if "var(--chart-before)" in p.get("style", "")]
    # Forget 54 %, retain 22.16 %, CIFAR-10 68.61 %; 100 % is the view box less both margins, 360 - 46 - 46 points.
    corners = [[float(x) for x in path.replace("z", "").split() if x not in "ML"] for path in bars]
    widths = [max(points[::2]) - min(points[::2]) for points in corners]
    assert widths == pytest.approx([2.68 * 54, 2.68 * 100 * 2205 / 9950, 2.68 * 68.61], abs=1e-3)


def test_equal_records_give_equal_bytes_and_matplotlib_stays_as_it_was() -> None:
    # Reading the back end's name would choose one.
    names = [name for name in matplotlib.rcParams if name != "backend"]
    before = [matplotlib.rcParams[name] for name in names]
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        disturbed = before_after_chart(sample())
    assert disturbed == before_after_chart(sample())
    assert [matplotlib.rcParams[name] for name in names] == before


def test_colors_are_the_page_s() -> None:
    svg = before_after_chart(sample())
    body = svg[svg.index("</style>") :]
    assert "#0" not in body
    assert "currentColor" in body
    assert "var(--chart-after)" in body
    assert "<metadata" not in svg
    assert "font-family: '" not in svg


def test_without_scores_it_says_so() -> None:
    assert "No top-1 accuracy was measured." in before_after_chart(nothing_measured())


def test_without_a_result_only_the_base_is_drawn() -> None:
    svg = before_after_chart(sample(scores=Scores(before=sample().scores.before)))
    assert "54.0 (40.4 to 67.0) before, not measured after" in svg
    assert ">after<" not in svg


@settings(max_examples=15)
@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=80))
def test_class_and_source_names_of_any_script_draw(name: str) -> None:
    svg = before_after_chart(named(name, data=name))
    ET.parse(io.StringIO(svg))


def test_names_are_neither_markup_nor_mathematics() -> None:
    svg = before_after_chart(named("<script>$\\frac{1}$ \\1 大帛斑蝶"))
    assert "<script" not in svg
    assert "images of &lt;script&gt;$\\frac{1}$ \\1 大帛斑蝶" in svg
