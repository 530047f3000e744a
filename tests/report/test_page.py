import base64
import io
import re
from dataclasses import replace
from functools import cache
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import efface.report
from efface.data.sifted import Duplicate, Outlier, Sifted
from efface.evaluation.collateral import Confusion
from efface.evaluation.retrieval import Retrieved
from efface.report.page import duration, memory, render_page
from efface.report.record import ClassScores, Scores, Weights
from efface.report.rows import percent, points
from efface.report.sheet import GAP, contact_sheet, picture_sheet
from efface.types import Trace
from tests.report.sample_record import TARGET, large, named, sample

VOID = {"meta", "br", "img", "link", "hr", "input"}
FORBIDDEN = ("certain", "erased", "compliant", "certified", "proof", "guarantee")
SCRIPT = "<script>alert('1')</script>"


class Balanced(HTMLParser):
    """Fails where tags do not close in the order in which they opened; gathers text and references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def noise(n: int, size: int) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_every_score_and_change_is_on_the_page() -> None:
    record = sample()
    page = render_page(record, None)
    for score in (*record.scores.before, *record.scores.after):
        assert f"<b>{percent(score.value)}</b> <small>{percent(score.low)} to {percent(score.high)}</small>" in page
    for change in record.changes:
        assert f"<b>{points(change.value)}</b> <small>{points(change.low)} to {points(change.high)}</small>" in page


def test_what_was_asked_and_what_came_of_it_is_on_the_page() -> None:
    record = sample()
    text = " ".join(" ".join(parsed(render_page(record, None)).text).split())
    for wanted in (
        "monarch : measured suppression in tiny-natural-rn",
        "Done:",
        record.reason,
        f"for weights sha256 {record.weights.result}",
        "under no attack",
        *record.templates,
        *record.among,
        *record.weights.changed,
        record.weights.base,
        *(used.sha256 for used in record.data),
        *record.environment.values(),
        "2 min 26 s",
        "1.8 GiB",
        "64 steps",
        "visual.attnpool.q_proj.weight",
        "0.000128",
    ):
        assert wanted in text


def test_a_page_parses_and_needs_nothing_else() -> None:
    page = render_page(sample(), contact_sheet(noise(4, 8)))
    parser = parsed(page)
    assert all(reference.startswith(("#", "data:image/webp;base64,")) for reference in parser.references)
    assert not {"script", "link", "iframe"} & set(parser.seen)
    assert "url(http" not in page
    assert "@import" not in page


@cache
def usual_tags() -> list[str]:
    return parsed(render_page(sample(), None)).seen


@settings(max_examples=3, phases=[Phase.generate])
@given(name=st.text(min_size=1, max_size=40))
def test_a_class_name_of_any_text_stays_text(name: str) -> None:
    page = render_page(named(name), None)
    assert f"<h1><bdi>{escape(name)}</bdi>" in page
    assert parsed(page).seen == usual_tags()


def test_the_map_ranks_what_was_lost_beyond_its_interval_and_says_the_distance() -> None:
    page = render_page(sample(), None)
    text = " ".join(" ".join(parsed(page).text).split())
    # sample_record: other class i changes by -i of 50, with 10 points to either side: 8 of them are wholly below 0.
    assert "Of 15 other classes 8 lost and 0 gained" in text
    assert text.index("jellyfish 50 images; text distance 0.70") < text.index("koala 50 images; text distance 0.65")
    assert page.count('class="drawing" role="img" aria-label="') == page.count("<title>") - 1


def test_what_the_class_is_taken_for_and_what_its_text_finds_is_shown() -> None:
    retrieved = picture_sheet(noise(3, 20).unbind())
    page = render_page(sample(), None, retrieved)
    text = " ".join(" ".join(parsed(page).text).split())
    assert "Images of monarch called n Before After monarch 50 27 0 goldfish 50 3 21" in text
    assert "Called monarch, though n Before After koala 50 6 0" in text
    assert "before monarch 0.31 monarch 0.30 monarch 0.29 after goldfish 0.31 goldfish 0.30 goldfish 0.29" in text
    assert page.count('src="data:image/webp;base64,') == 6
    assert 'alt="Image of goldfish, found as number 1"' in page
    assert "No pictures." in render_page(sample(), None)


def test_html_in_names_is_escaped_wherever_they_stand() -> None:
    record = sample()
    hostile = named(SCRIPT, data=SCRIPT)
    hostile = sample(
        target=SCRIPT, among=(SCRIPT, "other"), templates=(SCRIPT + "{}",), model=SCRIPT, method=SCRIPT, preset=SCRIPT,
        settings={SCRIPT: SCRIPT}, synthesis={SCRIPT: [SCRIPT]}, device=SCRIPT, reason=SCRIPT, timing={SCRIPT: 1.0},
        trace=Trace(({SCRIPT: SCRIPT, "tensors": [SCRIPT] * 9},), reached=False, reason=SCRIPT),
        weights=Weights(SCRIPT, SCRIPT, (SCRIPT,)), environment={SCRIPT: SCRIPT},
        scores=hostile.scores, changes=hostile.changes, classes=hostile.classes, data=record.data,
        confusion=(Confusion(SCRIPT, SCRIPT, SCRIPT, 1, 2, 3), Confusion(SCRIPT, "other", SCRIPT, 1, 2, 3)),
        retrieved=(Retrieved(SCRIPT, SCRIPT, 1, 2, SCRIPT, 0.5, 0, SCRIPT),), created=SCRIPT,
    )  # fmt: skip
    page = render_page(hostile, contact_sheet(noise(1, 8)), contact_sheet(noise(1, 8)))
    assert "<script" not in page
    assert escape(SCRIPT, quote=False).replace("'", "&#39;") in page
    parsed(page)


def test_equal_records_give_equal_bytes() -> None:
    steps = ({"round": 1, "loss": 0.5},), ({"loss": 0.5, "round": 1},)
    sheet = contact_sheet(noise(4, 120))
    one, two = (
        sample(settings=settings, environment=settings, trace=Trace(step, reached=True, reason="done"))
        for settings, step in zip(({"a": "1", "b": "2"}, {"b": "2", "a": "1"}), steps, strict=True)
    )
    assert one == two
    assert render_page(one, sheet) == render_page(two, sheet.copy())


def test_a_page_with_many_large_images_stays_small() -> None:
    page = render_page(sample(), contact_sheet(noise(64, 224)))
    assert len(page.encode()) < 2_000_000
    encoded = re.search(r"base64,([^\"]*)", page)
    assert encoded is not None
    with Image.open(io.BytesIO(base64.b64decode(encoded[1]))) as image:
        assert image.format == "WEBP"
        assert image.size == (GAP + 8 * (96 + GAP),) * 2


@pytest.mark.parametrize(
    ("classes", "sources", "skipped"), [(1000, 8, 0), pytest.param(21000, 1, 50_000, marks=pytest.mark.slow)]
)
def test_a_page_of_very_many_classes_sources_and_images_stays_small(classes: int, sources: int, skipped: int) -> None:
    page = render_page(large(classes, sources, skipped), contact_sheet(noise(64, 224)))
    assert len(page.encode()) < 2_000_000
    parsed(page)
    per_source = 600 // sources
    assert f"The {per_source} classes whose texts are nearest" in page
    assert f"And {classes - 1 - per_source} more, which record.json has." in page
    assert f"The {classes - 1 - 4000 // sources} classes that changed least are not drawn." in page
    assert f"<li>and {classes - 200} more, which record.json has</li>" in page
    assert ("<li>and 49800 more, which record.json has</li>" in page) == bool(skipped)


def test_a_small_sheet_is_not_enlarged() -> None:
    sheet = contact_sheet(noise(3, 10))
    assert f'width="{sheet.width}" height="{sheet.height}" alt="Grid of the images of {TARGET}' in render_page(
        sample(), sheet
    )


def test_a_run_without_a_result_says_so() -> None:
    record = sample(
        reached=False, reason="no image was accepted", weights=Weights("ab", None, ()), scores=Scores(), changes=(),
        classes=ClassScores(), synthesis=None, trace=Trace((), reached=False, reason="nothing was tried"), data=(),
        settings={}, environment={}, timing={}, confusion=(), retrieved=(),
    )  # fmt: skip
    page = render_page(record, None)
    parsed(page)
    assert "The method missed its goal:</b> no image was accepted" in page
    assert "no changed model of tiny-natural-rn" in page
    assert "Nothing was measured on held-out images." in page
    assert "measured suppression" not in page
    assert "no model was made that suppresses monarch" in page


def test_any_settings_can_be_shown() -> None:
    odd = {
        "none": None, "flag": True, "set": {"b", "a"}, "nested": [[1, 2], [3, [4.5]]], "empty": [], "bytes": b"x",
        "path": Path("x/y"), "rows": [{"a": 1}, {"b": {"c": [1]}}], "columns": {"columns": 3}, 7: "number",
        "mixed": [{"a": 1}, 2], "long": list(range(100)), "text": "",
    }  # fmt: skip
    page = render_page(sample(settings=odd, synthesis=odd), None)
    parsed(page)
    for wanted in ("<dd>yes</dd>", "<dd>a, b</dd>", "<dd>x/y</dd>", "100 values", "<dt>7</dt>"):
        assert wanted in page


def test_how_a_guard_was_made_is_shown_where_one_was() -> None:
    page = render_page(sample(), None)
    assert "<h2>Images of other classes</h2>" in page
    assert "<dt>nearest</dt><dd>32</dd>" in page
    assert "Images of other classes" not in render_page(sample(guard=None), None)


def test_near_duplicates_and_outliers_are_shown_with_what_was_done() -> None:
    twins = [Duplicate(f"<a{i}>", "retain", "b", "forget", False, 3, 0.9, dropped=i > 0) for i in range(3)]
    strange = Outlier("odd.png", "dog", 6.25, 4.5, dropped=True)
    page = render_page(sample(sifted=Sifted("drop", True, {"forget": 3}, (strange,), tuple(twins))), None)
    parsed(page)
    for wanted in (
        "odd.png: 6.2 standard",
        "&lt;a2&gt; shows the picture of b",
        "and were worked on all the same: figures",
    ):
        assert wanted in page
    assert page.index("&lt;a0&gt;") < page.index("&lt;a1&gt;")
    assert "Near duplicates and outliers" not in render_page(sample(), None)


def test_of_very_many_steps_the_middle_is_left_out() -> None:
    steps = tuple({"round": i, "loss": 0.25} for i in range(1000, 1500))
    page = render_page(sample(trace=Trace(steps, reached=True, reason="done")), None)
    assert "<summary>500 steps</summary>" in page
    assert "300 steps are left out here" in page
    assert "<td>1099</td>" in page
    assert "<td>1100</td>" not in page
    assert "<td>401</td><td>1400</td>" in page


def test_times_and_sizes_in_words() -> None:
    assert [duration(x) for x in (0.04, 59.9, 60.0, 146.2, 3599.7, 7384.0)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "2 min 26 s", "1 h 0 min", "2 h 3 min",
    ]  # fmt: skip
    assert [memory(x) for x in (3 * 2**20, 1_931_000_000)] == ["3 MiB", "1.8 GiB"]


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_report_claims_more_than_was_measured(word: str) -> None:
    folder = Path(efface.report.__path__[0])
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".j2")]
    root = folder.parents[2]
    files += [root / "README.md", *(root / "docs").rglob("*.md")]
    files += [path for path in (root / "benchmarks").rglob("*") if path.suffix in (".py", ".md")]
    files += [path for name in ("verifying", "export", "cli") for path in (folder.parent / name).rglob("*.py")]
    wanted = {
        "report.html.j2",
        "macros.html.j2",
        "compare.html.j2",
        "card.md.j2",
        "page.py",
        "verify.py",
        "README.md",
        "record.md",
        "table.md",
    }
    assert {path.name for path in files} >= wanted
    assert [path.name for path in files if word in path.read_text(encoding="utf-8").lower()] == []


def test_what_was_chosen_and_what_was_left_out_is_shown() -> None:
    record = sample()
    used = replace(record.data[0], where={"domain": "<sketch>"}, skipped=("row 3 cannot be decoded",))
    page = render_page(replace(record, data=(used, *record.data[1:])), None)
    assert "only images with domain &lt;sketch&gt;; 1 image could not be decoded, and no figure counts it." in page
    assert "on validation.parquet (domain &lt;sketch&gt;) under no attack" in page
    assert "1 that cannot be decoded" in page
    assert "that cannot be decoded" not in render_page(record, None)
