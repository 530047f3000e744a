"""Which images there are: streams of scenes that share no seed.

Pre-training draws from ``train`` alone, a fixed set, so that it is known what a model was trained on. Every other
stream holds images that no embedded model ever saw.
"""

from dataclasses import dataclass

import numpy as np

from efface.symbols.catalogue import COLORS, DESIGNS, MEMBERS, STYLES, is_unseen
from efface.symbols.compose import BACKGROUNDS, Ints, Scenes
from efface.symbols.randomness import below


@dataclass(frozen=True, slots=True)
class Split:
    """A stream of scenes.

    Attributes:
        size: how many images.
        unseen: whether it holds only the combinations of member, color and style that pre-training never shows; the
            others hold only those that it does show.
        purpose: what it is for.
    """

    size: int
    unseen: bool
    purpose: str


SPLITS: dict[str, Split] = {
    "train": Split(60_000, unseen=False, purpose="pre-training; the only images that an embedded model has seen"),
    "validation": Split(len(MEMBERS) * 20, unseen=False, purpose="watching pre-training, choosing its settings"),
    "test": Split(len(MEMBERS) * 60, unseen=False, purpose="judging a result; 20 images a design of each member"),
    "unseen": Split(len(MEMBERS) * 60, unseen=True, purpose="judging zero-shot: combinations never shown"),
    "forget": Split(len(MEMBERS) * 120, unseen=False, purpose="images that a person gives of what is to go"),
    "retain": Split(len(MEMBERS) * 120, unseen=False, purpose="images that a person gives of what is to stay"),
    "calibration": Split(len(MEMBERS) * 120, unseen=False, purpose="choosing a setting of a method"),
}


def scenes(split: str) -> Scenes:
    """All scenes of a split: members take turns, and so do the designs of each."""
    rows = np.arange(SPLITS[split].size, dtype=np.int64)
    member = rows % len(MEMBERS)
    combination = _combinations(unseen=SPLITS[split].unseen)[member]
    picked = combination[np.arange(len(rows)), below(combination.shape[1], split, "combination", rows)]
    color, style = picked // len(STYLES), picked % len(STYLES)
    size = 36 + below(7, split, "size", rows)
    return Scenes(
        member=member,
        design=rows // len(MEMBERS) % DESIGNS,
        color=color,
        style=style,
        background=below(len(BACKGROUNDS), split, "background", rows),
        angle=below(25, split, "angle", rows) - 12,
        size=size,
        x=below(7, split, "x", rows) - 3,
        y=below(7, split, "y", rows) - 3,
        tint=_three(split, "tint", rows, 21),
        shades=_shades(split, rows, color),
        hue=_three(split, "hue", rows, 41),
        phase=below(16, split, "phase", rows),
        noise=below(41, split, "noise", rows),
        seed=below(1 << 40, split, "seed", rows),
    )


def _combinations(*, unseen: bool) -> Ints:
    """Of each member, color x style as one number, of those that pre-training shows or of the others."""
    pairs = [(color, style) for color in range(len(COLORS)) for style in range(len(STYLES))]
    return np.array(
        [
            [c * len(STYLES) + s for c, s in pairs if is_unseen(member, c, s) == unseen]
            for member in range(len(MEMBERS))
        ],
        np.int64,
    )


def _three(split: str, purpose: str, rows: Ints, width: int) -> Ints:
    """Three numbers around zero a row."""
    return np.stack([below(width, split, f"{purpose} {k}", rows) - width // 2 for k in range(3)], axis=1)


def _shades(split: str, rows: Ints, color: Ints) -> Ints:
    """Two greys that are 50 steps of lightness or more below the paint."""
    span = np.array([(299 * r + 587 * g + 114 * b) // 1000 for r, g, b in COLORS.values()], np.int64)[color] - 50
    first = below(1 << 20, split, "shade 0", rows) % span
    second = below(1 << 20, split, "shade 1", rows) % span
    # Half the way at most, so that a pattern behind a sign is quieter than the sign.
    return np.stack([first, first + (second - first) // 2], axis=1)
