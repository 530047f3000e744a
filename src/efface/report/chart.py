"""Accuracy before and after, as a chart that stands inside a page."""

import io
import re
from html import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efface.evaluation.base import Score
from efface.report.record import Record
from efface.report.rows import Row, interval, percent, score_rows, short_names, split_words

# All in points, which are the units of the SVG's view box.
_WIDTH = 360.0
_LEFT = 46.0
_RIGHT = 46.0
_BAR = 13.0
_GROUP = 56.0
_AXIS = 20.0
_LABEL_CHARACTERS = 56

# Colors that matplotlib draws with, and what replaces them: a page in the dark has other ones.
_INK, _FAINT, _BEFORE, _AFTER = "#010101", "#020202", "#030303", "#040404"
_COLORS = {
    _INK: "currentColor",
    _FAINT: "var(--chart-faint)",
    _BEFORE: "var(--chart-before)",
    _AFTER: "var(--chart-after)",
}
_STYLE = """<style>
.before-after{--chart-faint:#8886;--chart-before:#8b97a6;--chart-after:#c2571a;
font-family:system-ui,"DejaVu Sans",sans-serif;stroke-linejoin:round}
@media (prefers-color-scheme:dark){.before-after{--chart-before:#76869a;--chart-after:#e8884a}}
</style>"""


def before_after_chart(record: Record) -> str:
    """An inline SVG with bars of top-1 accuracy before and after, for each source and split, both towers edited.

    Error bars are the 95 % intervals. Ink is ``currentColor``, so that it reads in the light and in the dark, and the
    numbers stand in words in the title.
    """
    rows = [row for row in score_rows(record, ["both"]) if row.metric == "acc1"]
    names = short_names(row.data for row in rows)
    labels = [f"{split_words(row.split, record.target)}, {names[row.data]}" for row in rows]
    # A user's names never pass through matplotlib: its fonts do not have all scripts.
    svg = _tidy(_draw(rows))
    for i, label in enumerate(labels):
        svg = svg.replace(f">@{i}@<", f">{escape(_shortened(label))}<")
    words = escape(_in_words(rows, labels))
    start = f'<svg class="before-after" role="img" aria-label="{words}"'
    return re.sub(r"<svg ([^>]*)>", lambda m: f"{start} {m[1]}>\n<title>{words}</title>\n{_STYLE}", svg, count=1)


def _draw(rows: list[Row]) -> str:
    height = _AXIS + _GROUP * max(1, len(rows))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "efface", "svg.fonttype": "none", "font.size": 10})
        figure = Figure(figsize=(_WIDTH / 72, height / 72))
        inner = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
        axes = figure.add_axes((_LEFT / _WIDTH, _AXIS / height, inner, 1 - _AXIS / height))
        _frame(axes, height - _AXIS)
        for i, row in enumerate(rows):
            _group(axes, i, row)
        file = io.StringIO()
        unset = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", transparent=True, metadata=unset)
    return file.getvalue()


def _frame(axes: Axes, height: float) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(height, 0)
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"], color=_INK)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _group(axes: Axes, index: int, row: Row) -> None:
    top = index * _GROUP
    to_data = 100 / (_WIDTH - _LEFT - _RIGHT)
    axes.text(-_LEFT * to_data, top + 14, f"@{index}@", color=_INK)
    for words, score, color, y in (
        ("before", row.before, _BEFORE, top + 19 + _BAR / 2),
        ("after", row.after, _AFTER, top + 21 + _BAR * 1.5),
    ):
        if score is not None:
            _bar(axes, y, score, color)
            axes.text(-4 * to_data, y, words, color=_INK, ha="right", va="center_baseline")
            axes.text(100 + _RIGHT * to_data, y, percent(score.value), color=_INK, ha="right", va="center_baseline")


def _bar(axes: Axes, y: float, score: Score, color: str) -> None:
    axes.barh(y, 100 * score.value, height=_BAR, color=color, linewidth=0)
    axes.hlines(y, 100 * score.low, 100 * score.high, colors=_INK, linewidth=1.2)
    ends = [100 * score.low, 100 * score.high]
    axes.vlines(ends, y - 3, y + 3, colors=_INK, linewidth=1.2, clip_on=False)


def _tidy(svg: str) -> str:
    """The drawing without a header, its own style, sizes or fonts: the page has those."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    svg = re.sub(r' id="(figure|axes|patch|text|[xy]tick|line2d|LineCollection|matplotlib)[^"]*"', "", svg)
    for color, replacement in _COLORS.items():
        svg = svg.replace(color, replacement)
    return svg


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"


def _in_words(rows: list[Row], labels: list[str]) -> str:
    if not rows:
        return "No top-1 accuracy was measured."
    parts = [
        f"{label}: {_said(row.before)} before, {_said(row.after)} after"
        for row, label in zip(rows, labels, strict=True)
    ]
    return "Top-1 accuracy in percent with 95 % intervals. " + "; ".join(parts) + "."


def _said(score: Score | None) -> str:
    return "not measured" if score is None else f"{percent(score.value)} ({interval(score.low, score.high)})"
