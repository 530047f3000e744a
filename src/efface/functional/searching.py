"""Choosing one number under a constraint, by few measurements."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """What a coefficient was found to be worth.

    Attributes:
        coefficient: in [0, 1].
        forget: what the constraint bounds.
        keep: what is to be large.
    """

    coefficient: float
    forget: float
    keep: float


Measure = Callable[[float], Measured]


def best_of(path: list[Measured], most: float, gain: float = 0.0, current: Measured | None = None) -> Measured | None:
    """Of those whose ``forget`` is at most ``most`` the one with the largest ``keep``; None where there is none.

    Of equals the one with the least ``forget``, and of these the largest coefficient.

    Args:
        path: what was measured.
        most: what is allowed.
        gain: by how much the best has to keep more than the largest allowed coefficient, which is taken else: of few
            images one or two are no reason for less of an edit.
        current: what is allowed and there already, and is taken in the place of the largest: then the result keeps at
            least as much as it does, and has to win the gain only with less of the edit.
    """
    allowed = [point for point in [*path, *([current] if current else [])] if point.forget <= most]
    if not allowed:
        return None
    best = min(allowed, key=lambda point: (-point.keep, point.forget, -point.coefficient))
    held = current or max(allowed, key=lambda point: point.coefficient)
    needed = gain if best.coefficient < held.coefficient else 0.0
    return best if best.keep >= held.keep + needed else held


def by_grid(measure: Measure, most: float, count: int) -> list[Measured]:
    """The path through ``count`` coefficients, equally far from each other, from 0 to 1.

    Args:
        measure: called once for each.
        most: not looked at: all are measured.
        count: at least 2.
    """
    del most
    return [measure(i / (count - 1)) for i in range(count)]


def by_bisection(measure: Measure, most: float, count: int) -> list[Measured]:
    """The path to the least coefficient that the constraint allows, if more of the edit never forgets less.

    Both ends first, then always the middle between the largest that is not allowed and the least that is. Ends early
    where 0 is allowed. Where 1 is not, halves are tried downwards from 1, in case that less of the edit forgets more.

    Args:
        measure: called ``count`` times at most.
        most: what ``forget`` may be.
        count: at least 2; each beyond halves the interval that the least allowed coefficient lies in.
    """
    path = [measure(1.0), measure(0.0)]
    if path[1].forget <= most:
        return path
    low, high = 0.0, 1.0
    for _ in range(count - 2):
        middle = (low + high) / 2
        path.append(measure(middle))
        if path[-1].forget <= most or not any(point.forget <= most for point in path):
            high = middle
        else:
            low = middle
    return path
