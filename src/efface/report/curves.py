"""The numbers of a procedure's steps as small curves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from efface.report.svg import AFTER, FAINT, INK, drawing

_WIDTH, _HEIGHT = 230.0, 120.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 44.0, 8.0, 22.0, 22.0
_COUNTERS = {"round", "epoch", "step", "image"}
_MOST = 8


def curves(steps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """An inline SVG for each number that the steps report and that varies, at most eight, in the order of its name.

    Counters and yes-or-no values are left out, and steps that do not report the number are.
    """
    return tuple(_curve(name, found) for name, found in _series(steps))


def _series(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    names = sorted({name for step in steps for name in step} - _COUNTERS)
    shown = 0
    for name in names:
        found = [(i + 1, float(step[name])) for i, step in enumerate(steps) if _is_number(step.get(name))]
        if len({value for _, value in found}) > 1 and shown < _MOST:
            shown += 1
            yield name, found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curve(name: str, found: list[tuple[int, float]]) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.add_axes(
            (_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - (_LEFT + _RIGHT) / _WIDTH, 1 - (_BOTTOM + _TOP) / _HEIGHT)
        )
        axes.plot([x for x, _ in found], [y for _, y in found], color=AFTER, linewidth=1.4, marker=".", markersize=4)
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0, colors=INK, labelsize=8)
        axes.locator_params(axis="both", nbins=4)
        axes.locator_params(axis="x", integer=True)
        axes.set_title("@name@", color=INK, fontsize=10, loc="left", pad=6)

    values = [value for _, value in found]
    words = (
        f"{name} by step: {values[0]:.4g} at step {found[0][0]}, {values[-1]:.4g} at step {found[-1][0]}, "
        f"between {min(values):.4g} and {max(values):.4g}."
    )
    return drawing(_WIDTH, _HEIGHT, draw, words=words, texts={"name": name.replace("_", " ")})
