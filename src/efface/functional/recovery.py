"""How fast something that was lost comes back."""

import math
from collections.abc import Mapping


def steps_to_recovery(curve: Mapping[int, float], before: float, lost: float, *, share: float = 0.5) -> int | None:
    """After how many steps a share of what was lost is there again.

    Args:
        curve: what was measured after so many steps.
        before: what it was before the loss.
        lost: what it was after the loss, before the first step.
        share: of the loss, in (0, 1].

    Returns:
        The fewest of the steps in the curve at which ``lost + share (before - lost)`` is reached; 0 where nothing was
        lost; None where it is never reached.
    """
    if lost >= before:
        return 0
    goal = lost + share * (before - lost)
    return min((steps for steps, value in curve.items() if value >= goal or math.isclose(value, goal)), default=None)
