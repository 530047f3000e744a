"""The numbers of a procedure's steps as small curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from matplotlib.figure import Figure

from efface.report.svg import AFTER, FAINT, INK, drawing

_WIDTH, _HEIGHT = 230.0, 120.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 44.0, 8.0, 22.0, 22.0
_COUNTERS = {"round", "epoch", "step", "image"}
_AXIS = "coefficient"
_MOST = 8


@dataclass(frozen=True, slots=True)
class _Curve:
    """Points of a number over steps, or over a coefficient that was searched for.

    Attributes:
        name: of the number.
        axis: ``step`` or ``coefficient``.
        towers: of which the coefficient is; empty for steps.
        points: where on the axis, and what.
    """

    name: str
    axis: str
    towers: str
    points: list[tuple[float, float]]


def curves(steps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """An inline SVG for each number that the steps report and that varies, at most eight, in the order of its name.

    Counters and yes-or-no values are left out, and steps that do not report the number are. Steps of a search, which
    report the ``coefficient`` that they tried, are drawn over that, a curve for each of the ``towers`` that it is of.
    """
    return tuple(_drawn(curve) for curve in islice(_curves(steps), _MOST))


def _curves(steps: Sequence[Mapping[str, Any]]) -> Iterator[_Curve]:
    for name in sorted({name for step in steps for name in step} - _COUNTERS):
        found: dict[tuple[str, str], _Curve] = {}
        for number, step in enumerate(steps, start=1):
            if _is_number(step.get(name)) and not name.endswith(_AXIS):
                at = (_AXIS, str(step.get("towers", ""))) if _is_number(step.get(_AXIS)) else ("step", "")
                curve = found.setdefault(at, _Curve(name, *at, []))
                curve.points.append((float(step[_AXIS]) if at[0] == _AXIS else number, float(step[name])))
        for curve in found.values():
            # A search goes to and fro; a number of steps is in order already.
            curve.points.sort(key=lambda point: point[0])
            if len({value for _, value in curve.points}) > 1:
                yield curve


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _drawn(curve: _Curve) -> str:
    name, axis, found = curve.name, curve.axis, curve.points

    def draw(figure: Figure) -> None:
        axes = figure.add_axes(
            (_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - (_LEFT + _RIGHT) / _WIDTH, 1 - (_BOTTOM + _TOP) / _HEIGHT)
        )
        axes.plot([x for x, _ in found], [y for _, y in found], color=AFTER, linewidth=1.4, marker=".", markersize=4)
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0, colors=INK, labelsize=8)
        axes.locator_params(axis="both", nbins=4)
        axes.locator_params(axis="x", integer=axis == "step")
        axes.set_title("@name@", color=INK, fontsize=10, loc="left", pad=6)

    values = [value for _, value in found]
    of = f" of {curve.towers}" if curve.towers else ""
    words = (
        f"{name} by {axis}{of}: {values[0]:.4g} at {axis} {found[0][0]:.6g}, "
        f"{values[-1]:.4g} at {axis} {found[-1][0]:.6g}, "
        f"between {min(values):.4g} and {max(values):.4g}."
    )
    title = name if axis == "step" else f"{name} by {axis}{of}"
    return drawing(_WIDTH, _HEIGHT, draw, words=words, texts={"name": title.replace("_", " ")})
