"""Accuracy before and after, as a chart that stands inside a page."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efface.evaluation.base import Score
from efface.report.record import Record
from efface.report.rows import Row, interval, percent, score_rows, short_names, split_words
from efface.report.svg import AFTER, BEFORE, FAINT, INK, drawing, shortened

# All in points, which are the units of the SVG's view box.
_WIDTH = 360.0
_LEFT = 46.0
_RIGHT = 46.0
_BAR = 13.0
_GROUP = 56.0
_AXIS = 20.0
_LABEL_CHARACTERS = 56


def before_after_chart(record: Record) -> str:
    """An inline SVG with bars of top-1 accuracy before and after, for each source and split, both towers edited.

    Error bars are the 95 % intervals. Ink is ``currentColor``, so that it reads in the light and in the dark, and the
    numbers stand in words in the title.
    """
    rows = [row for row in score_rows(record, ["both"]) if row.metric == "acc1"]
    names = short_names(row.data for row in rows)
    labels = [f"{split_words(row.split, record.label)}, {names[row.data]}" for row in rows]
    height = _AXIS + _GROUP * max(1, len(rows))

    def draw(figure: Figure) -> None:
        inner = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
        axes = figure.add_axes((_LEFT / _WIDTH, _AXIS / height, inner, 1 - _AXIS / height))
        _frame(axes, height - _AXIS)
        for i, row in enumerate(rows):
            _group(axes, i, row)

    texts = {str(i): shortened(label, _LABEL_CHARACTERS) for i, label in enumerate(labels)}
    return drawing(_WIDTH, height, draw, words=_in_words(rows, labels), texts=texts)


def _frame(axes: Axes, height: float) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(height, 0)
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"], color=INK)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _group(axes: Axes, index: int, row: Row) -> None:
    top = index * _GROUP
    to_data = 100 / (_WIDTH - _LEFT - _RIGHT)
    axes.text(-_LEFT * to_data, top + 14, f"@{index}@", color=INK)
    for words, score, color, y in (
        ("before", row.before, BEFORE, top + 19 + _BAR / 2),
        ("after", row.after, AFTER, top + 21 + _BAR * 1.5),
    ):
        if score is not None:
            _bar(axes, y, score, color)
            axes.text(-4 * to_data, y, words, color=INK, ha="right", va="center_baseline")
            axes.text(100 + _RIGHT * to_data, y, percent(score.value), color=INK, ha="right", va="center_baseline")


def _bar(axes: Axes, y: float, score: Score, color: str) -> None:
    axes.barh(y, 100 * score.value, height=_BAR, color=color, linewidth=0)
    axes.hlines(y, 100 * score.low, 100 * score.high, colors=INK, linewidth=1.2)
    ends = [100 * score.low, 100 * score.high]
    axes.vlines(ends, y - 3, y + 3, colors=INK, linewidth=1.2, clip_on=False)


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
