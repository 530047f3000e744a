"""What forgetting cost the other classes: which lost and gained, and a map of all of them."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from efface.evaluation.base import ClassScore
from efface.evaluation.collateral import ClassChange
from efface.report.record import Record
from efface.report.rows import by_class, points
from efface.report.svg import AFTER, FAINT, INK, drawing, shortened

_WIDTH, _HEIGHT = 360.0, 260.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 44.0, 12.0, 40.0, 10.0
_NAMED = 3
_EDGE = 0.1
# Of so many classes and sources as anybody measures, a page of all stays small enough to be sent: the record has them.
_POINTS, _ROWS = 4000, 600
_NAME_CHARACTERS = 24


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class before and after, on the same images, and its paired change."""

    before: ClassScore
    after: ClassScore
    change: ClassChange


@dataclass(frozen=True, slots=True)
class CollateralMap:
    """What happened to the classes of one source.

    Attributes:
        data: the source as given.
        target: the forgotten classes; empty where the source has no image of them.
        hurt: other classes that lost: by the upper end of the interval, the lowest first.
        helped: other classes that gained: by the lower end, the highest first.
        all: other classes, those whose text is nearest to the forgotten one's first; the first of very many.
        lost: how many other classes have an interval wholly below 0.
        gained: how many have one wholly above.
        others: how many other classes there are.
        by_chance: about how many of them would have one wholly below if nothing had changed at all.
        reach: the largest change that an interval of a listed other class reaches, up or down, in [0, 1].
    """

    data: str
    target: tuple[ClassRow, ...]
    hurt: tuple[ClassRow, ...]
    helped: tuple[ClassRow, ...]
    all: tuple[ClassRow, ...]
    lost: int
    gained: int
    others: int
    by_chance: float
    reach: float


def collateral_maps(record: Record, count: int) -> tuple[CollateralMap, ...]:
    """One map a source, with no more than ``count`` classes that were hurt and as many that were helped."""
    before, after = by_class(record.classes.before), by_class(record.classes.after)
    rows: dict[str, list[ClassRow]] = {}
    for key, change in by_class(record.classes.changes).items():
        if key in before and key in after:
            rows.setdefault(change.data, []).append(ClassRow(before[key], after[key], change))
    most = _ROWS // max(1, len(rows))
    return tuple(_map(of_data, data, record.names, count, most) for data, of_data in rows.items())


def collateral_chart(record: Record, data: str) -> str:
    """An inline SVG with the classes of a source: how far its text is from the forgotten one's, and how it changed.

    Whiskers are the paired 95 % intervals. The classes that lost and gained most are named, if their intervals lie
    wholly on one side of 0. The scale is that of the other classes: the forgotten one mostly changes so much that
    nothing else could be told apart, and then stands at the edge as a triangle. Of very many classes those that changed
    least are not drawn: :func:`undrawn` counts them.
    """
    found = [c for c in record.classes.changes if c.data == data and c.text_distance is not None]
    target = [c for c in found if c.name in record.names]
    others = [c for c in found if c.name not in record.names]
    words = _in_words(target, others)
    others = sorted(others, key=lambda c: -abs(c.value))[: _drawn(record)]
    lowest, highest = _scale(others or target)
    hurt, helped = _by_harm(others)[:_NAMED], _by_gain(others)[:_NAMED]
    named = [*target, *(c for c in hurt if c.high < 0), *(c for c in helped if c.low > 0)]

    def draw(figure: Figure) -> None:
        axes = _framed(figure, lowest, highest)
        for some in (others, target):
            whiskers = [(_distance(c), 100 * y) for c in some for y in (c.low, c.high)]
            axes.add_patch(_strokes(whiskers, FAINT, 1.6, "butt"))
        # One path, of dots that are lines without a length, is a fifth of the size of as many markers.
        axes.add_patch(_strokes([p for c in others for p in [(_distance(c), 100 * c.value)] * 2], INK, 3.5, "round"))
        for change in target:
            value = min(max(change.value, lowest), highest)
            marker = "o" if value == change.value else "v" if value > change.value else "^"
            axes.plot(_distance(change), 100 * value, marker, color=AFTER, markersize=3.5, clip_on=False)
        right = max((_distance(c) for c in found), default=1.0)
        axes.set_xlim(-0.02 * right, 1.02 * right)
        for i, change in enumerate(named):
            side = "right" if _distance(change) > right / 2 else "left"
            # Names of classes that are close to each other must not lie on one line, nor one at the edge beyond it.
            value = min(max(change.value, lowest), highest)
            share = (value - lowest) / (highest - lowest)
            above = "bottom" if share < _EDGE else "top" if share > 1 - _EDGE else ("top", "bottom")[i % 2]
            height = 100 * (value + (0.015 if above == "bottom" else -0.015) * (highest - lowest))
            axes.text(_distance(change), height, f"@{i}@", color=INK, ha=side, va=above, fontsize=9)

    texts = {
        str(i): f"\u00a0{shortened(c.name, _NAME_CHARACTERS)} {points(c.value)}\u00a0" for i, c in enumerate(named)
    }
    return drawing(_WIDTH, _HEIGHT, draw, words=words, texts=texts)


def undrawn(record: Record, data: str) -> int:
    """How many classes of a source its chart leaves out."""
    found = [c for c in record.classes.changes if c.data == data and c.text_distance is not None]
    return max(0, sum(c.name not in record.names for c in found) - _drawn(record))


def _framed(figure: Figure, lowest: float, highest: float) -> Axes:
    axes = figure.add_axes(
        (_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - (_LEFT + _RIGHT) / _WIDTH, 1 - (_BOTTOM + _TOP) / _HEIGHT)
    )
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)
    axes.set_xlabel("text distance to the forgotten class", color=INK)
    axes.set_ylabel("change in points", color=INK, labelpad=2)
    axes.set_ylim(100 * lowest, 100 * highest)
    return axes


def _drawn(record: Record) -> int:
    return _POINTS // max(1, len({change.data for change in record.classes.changes}))


def _strokes(ends: list[tuple[float, float]], color: str, width: float, cap: Literal["butt", "round"]) -> PathPatch:
    """Separate straight lines, from each point with an even number to the next."""
    codes = [Path.MOVETO, Path.LINETO] * (len(ends) // 2)
    path = Path(np.array(ends, dtype=float).reshape(-1, 2), codes)
    return PathPatch(path, fill=False, edgecolor=color, linewidth=width, capstyle=cap, clip_on=False)


def _map(rows: list[ClassRow], data: str, names: tuple[str, ...], count: int, most: int) -> CollateralMap:
    # By identity: two classes of one name may have changed alike.
    others = {id(row.change): row for row in rows if row.change.name not in names}
    of_target = tuple(row for row in rows if row.change.name in names)
    changes = [row.change for row in others.values()]
    hurt, helped = _by_harm(changes)[:count], _by_gain(changes)[:count]
    near = sorted(changes, key=lambda c: math.inf if c.text_distance is None else c.text_distance)[:most]
    return CollateralMap(
        data=data,
        target=of_target,
        hurt=tuple(others[id(c)] for c in hurt),
        helped=tuple(others[id(c)] for c in helped),
        all=tuple(others[id(c)] for c in near),
        lost=sum(c.high < 0 for c in changes),
        gained=sum(c.low > 0 for c in changes),
        others=len(others),
        by_chance=0.025 * len(others),
        reach=max((abs(x) for c in (*hurt, *helped, *near) for x in (c.low, c.high)), default=1),
    )


def _scale(changes: list[ClassChange]) -> tuple[float, float]:
    """From the lowest to the highest end of an interval, and at least 5 points to either side of 0, with some air."""
    lowest = min((c.low for c in changes), default=0.0)
    highest = max((c.high for c in changes), default=0.0)
    return min(lowest, -0.05) - 0.01, max(highest, 0.05) + 0.01


def _by_harm(changes: list[ClassChange]) -> list[ClassChange]:
    """Those that lost, the one whose interval ends lowest first."""
    return sorted((c for c in changes if c.value < 0), key=lambda c: (c.high, c.value))


def _by_gain(changes: list[ClassChange]) -> list[ClassChange]:
    """Those that gained, the one whose interval begins highest first."""
    return sorted((c for c in changes if c.value > 0), key=lambda c: (-c.low, -c.value))


def _distance(change: ClassChange) -> float:
    return math.nan if change.text_distance is None else change.text_distance


def _in_words(target: list[ClassChange], others: list[ClassChange]) -> str:
    lost = [c for c in others if c.high < 0]
    gained = sum(c.low > 0 for c in others)
    parts = [
        "Change of top-1 accuracy of every class, in percentage points, by text distance to the forgotten class",
        f"{len(others)} other classes, of which {len(lost)} lost and {gained} gained by more than their 95 % interval",
        *(f"{c.name}, the forgotten class: {_said(c)}" for c in target),
        *(f"{c.name}: {_said(c)}" for c in (*_by_harm(others)[:_NAMED], *_by_gain(others)[:_NAMED])),
    ]
    return ". ".join(parts) + "."


def _said(change: ClassChange) -> str:
    return f"{points(change.value)} ({points(change.low)} to {points(change.high)})"
