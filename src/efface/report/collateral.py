"""What forgetting cost the other classes: which lost for certain, which stand near, and a map of all of them."""

import math
from dataclasses import dataclass

from matplotlib.figure import Figure

from efface.evaluation.base import ClassScore
from efface.evaluation.collateral import ClassChange
from efface.report.record import Record
from efface.report.rows import by_class, points
from efface.report.svg import AFTER, FAINT, INK, drawing, shortened

_WIDTH, _HEIGHT = 360.0, 260.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 44.0, 12.0, 40.0, 10.0
_NAMED = 3
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
        target: the forgotten class; empty where the source has no image of it.
        hurt: other classes that lost, those that lost most for certain first: by the upper end of the interval.
        near: other classes, those whose text is nearest to the forgotten one's first.
        lost: how many other classes have an interval wholly below 0.
        gained: how many have one wholly above.
        others: how many other classes there are.
        by_chance: how many of them would have one wholly below if nothing had changed at all, at most.
        reach: the largest change that an interval of a listed other class reaches, up or down, in [0, 1].
    """

    data: str
    target: tuple[ClassRow, ...]
    hurt: tuple[ClassRow, ...]
    near: tuple[ClassRow, ...]
    lost: int
    gained: int
    others: int
    by_chance: float
    reach: float


def collateral_maps(record: Record, count: int) -> tuple[CollateralMap, ...]:
    """One map a source, with no more than ``count`` classes a list."""
    before, after = by_class(record.classes.before), by_class(record.classes.after)
    rows = [
        ClassRow(before[key], after[key], change)
        for key, change in by_class(record.classes.changes).items()
        if key in before and key in after
    ]
    sources = dict.fromkeys(row.change.data for row in rows)
    return tuple(_map([row for row in rows if row.change.data == data], data, record.target, count) for data in sources)


def collateral_chart(record: Record, data: str) -> str:
    """An inline SVG with every class of a source: how far its text is from the forgotten one's, and how it changed.

    Whiskers are the paired 95 % intervals. The classes that lost most are named, if they lost for certain. The scale is
    that of the other classes: the forgotten one mostly changes so much that nothing else could be told apart, and then
    stands at the edge as a triangle.
    """
    found = [c for c in record.classes.changes if c.data == data and c.text_distance is not None]
    target = [c for c in found if c.name == record.target]
    others = [c for c in found if c.name != record.target]
    lowest, highest = _scale(others or target)
    named = [*target, *(c for c in _by_harm(others)[:_NAMED] if c.high < 0)]

    def draw(figure: Figure) -> None:
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
        for some, color in ((others, INK), (target, AFTER)):
            far = [_distance(c) for c in some]
            axes.vlines(far, [100 * c.low for c in some], [100 * c.high for c in some], colors=FAINT, linewidth=1.6)
            for change in some:
                value = min(max(change.value, lowest), highest)
                marker = "o" if value == change.value else "v" if value > change.value else "^"
                axes.plot(_distance(change), 100 * value, marker, color=color, markersize=3.5, clip_on=False)
        right = max((_distance(c) for c in found), default=1.0)
        axes.set_xlim(-0.02 * right, 1.02 * right)
        for i, change in enumerate(named):
            side = "right" if _distance(change) > right / 2 else "left"
            # Names of classes that are close to each other must not lie on one line, nor one at the edge below it.
            above = "bottom" if i % 2 or change.value < lowest else "top"
            height = 100 * min(max(change.value, lowest), highest)
            axes.text(_distance(change), height, f"@{i}@", color=INK, ha=side, va=above, fontsize=9)

    texts = {
        str(i): f"\u00a0{shortened(c.name, _NAME_CHARACTERS)} {points(c.value)}\u00a0" for i, c in enumerate(named)
    }
    return drawing(_WIDTH, _HEIGHT, draw, words=_in_words(target, others), texts=texts)


def _map(rows: list[ClassRow], data: str, target: str, count: int) -> CollateralMap:
    # By identity: two classes of one name may have changed alike.
    others = {id(row.change): row for row in rows if row.change.name != target}
    of_target = tuple(row for row in rows if row.change.name == target)
    changes = [row.change for row in others.values()]
    hurt = _by_harm(changes)[:count]
    near = sorted((c for c in changes if c.text_distance is not None), key=_distance)[:count]
    return CollateralMap(
        data=data,
        target=of_target,
        hurt=tuple(others[id(c)] for c in hurt),
        near=tuple(others[id(c)] for c in near),
        lost=sum(c.high < 0 for c in changes),
        gained=sum(c.low > 0 for c in changes),
        others=len(others),
        by_chance=0.025 * len(others),
        reach=max((abs(x) for c in (*hurt, *near) for x in (c.low, c.high)), default=1),
    )


def _scale(changes: list[ClassChange]) -> tuple[float, float]:
    """From the lowest to the highest end of an interval, and at least 5 points to either side of 0, with some air."""
    lowest = min((c.low for c in changes), default=0.0)
    highest = max((c.high for c in changes), default=0.0)
    return min(lowest, -0.05) - 0.01, max(highest, 0.05) + 0.01


def _by_harm(changes: list[ClassChange]) -> list[ClassChange]:
    """Those that lost, the surest and largest loss first."""
    return sorted((c for c in changes if c.value < 0), key=lambda c: (c.high, c.value))


def _distance(change: ClassChange) -> float:
    return math.nan if change.text_distance is None else change.text_distance


def _in_words(target: list[ClassChange], others: list[ClassChange]) -> str:
    lost = [c for c in others if c.high < 0]
    gained = sum(c.low > 0 for c in others)
    parts = [
        "Change of top-1 accuracy of every class, in percentage points, by text distance to the forgotten class",
        f"{len(others)} other classes, of which {len(lost)} lost and {gained} gained by more than their 95 % interval",
        *(f"{c.name}, the forgotten class: {_said(c)}" for c in target),
        *(f"{c.name}: {_said(c)}" for c in _by_harm(others)[:_NAMED]),
    ]
    return ". ".join(parts) + "."


def _said(change: ClassChange) -> str:
    return f"{points(change.value)} ({points(change.low)} to {points(change.high)})"
