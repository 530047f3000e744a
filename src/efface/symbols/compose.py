"""Images from masks: rotation, scale, style, color and background in integers only.

Every machine and every version of every library gives the same bytes: the one thing that starts from floats is a
table of sines, rounded to 12 bits.
"""

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from efface.symbols.catalogue import COLORS, DESIGNS, STYLES
from efface.symbols.randomness import below

SIZE = 48
"""Pixels on a side, of images and of masks."""
BACKGROUNDS = ("plain", "gradient", "stripes", "checks", "rings", "blotches")
PHASES = 16
"""Places where the pattern of a background may start."""
ONE = 1 << 12
"""The integer that stands for 1 in coordinates."""

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Layer = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Scenes:
    """What is on each image; all fields are [batch].

    Attributes:
        member: row of :data:`~efface.symbols.catalogue.MEMBERS`.
        design: which drawing of it, 0 to 2.
        color: row of the colors.
        style: row of the styles.
        background: row of :data:`BACKGROUNDS`.
        angle: clockwise, in degrees.
        size: side of the mask on the image, in pixels.
        x: where its centre is, in pixels to the right of the image's centre.
        y: the same, downwards.
        tint: three small numbers a color is off by [batch, 3].
        shades: lightness of the two colors of the background, 0 to 255 [batch, 2].
        hue: three small numbers the background is off grey by [batch, 3].
        phase: where a pattern starts.
        noise: how strong the noise is, 0 to 255.
        seed: which noise.
    """

    member: Ints
    design: Ints
    color: Ints
    style: Ints
    background: Ints
    angle: Ints
    size: Ints
    x: Ints
    y: Ints
    tint: Ints
    shades: Ints
    hue: Ints
    phase: Ints
    noise: Ints
    seed: Ints

    def __len__(self) -> int:
        return len(self.member)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> "Scenes":
        """Some of them."""
        return Scenes(*(getattr(self, field.name)[rows] for field in fields(self)))


def compose(scenes: Scenes) -> Bytes:
    """Draws images [batch, SIZE, SIZE, 3], RGB."""
    mask = placed_masks(scenes)
    image = background(scenes)
    shadow = np.zeros_like(mask)
    cast = scenes.style == list(STYLES).index("shadow")
    shadow[cast, 3:, 3:] = mask[cast, :-3, :-3] * 3 // 4
    paint = np.array(list(COLORS.values()), np.int32)[scenes.color] + scenes.tint.astype(np.int32)
    image -= image * shadow[..., None] // 255
    ink = styled(mask, scenes)[..., None]
    image += (paint[:, None, None, :] - image) * ink // 255
    image += noise(scenes)
    return np.clip(image, 0, 255).astype(np.uint8)


def placed_masks(scenes: Scenes) -> Layer:
    """The masks turned, scaled and moved, by bilinear interpolation [batch, SIZE, SIZE], 0 to 255."""
    sine, cosine = _turns()[:, scenes.angle % 360]
    # From image to mask: the inverse turn, and SIZE mask pixels on `size` image pixels. Half pixels, hence the 2.
    a = (cosine * SIZE // scenes.size).astype(np.int32)[:, None, None]
    b = (sine * SIZE // scenes.size).astype(np.int32)[:, None, None]
    axis = 2 * np.arange(SIZE, dtype=np.int32) - (SIZE - 1)
    u = axis[None, None, :] - 2 * scenes.x.astype(np.int32)[:, None, None]
    v = axis[None, :, None] - 2 * scenes.y.astype(np.int32)[:, None, None]
    # One pixel of margin around a mask lets everything outside read as zero.
    middle = (SIZE + 1) * ONE
    across = np.clip(a * u + b * v + middle, 0, 2 * (SIZE + 1) * ONE - 1) // 2
    down = np.clip(a * v - b * u + middle, 0, 2 * (SIZE + 1) * ONE - 1) // 2
    left, top = across // ONE, down // ONE
    fx, fy = (across % ONE) >> 4, (down % ONE) >> 4
    side = SIZE + 2
    corner = (
        (scenes.member * DESIGNS + scenes.design).astype(np.int32)[:, None, None] * (side * side) + top * side + left
    )
    flat = _padded_masks()
    upper = flat[corner] * (256 - fx) + flat[corner + 1] * fx
    lower = flat[corner + side] * (256 - fx) + flat[corner + side + 1] * fx
    found: Layer = (upper * (256 - fy) + lower * fy) >> 16
    return found


def styled(mask: Layer, scenes: Scenes) -> Layer:
    """How much paint is where, 0 to 255."""
    ink = np.minimum(mask * 5 // 4, 255)
    for row in np.flatnonzero(scenes.style == list(STYLES).index("outline")):
        ink[row] = np.maximum(widened(mask[row]) - mask[row], 0)
    striped = scenes.style == list(STYLES).index("stripes")
    lines = (np.arange(SIZE)[None, :] + scenes.phase[striped, None]) % 4 < 2
    ink[striped] = np.where(lines[:, :, None], ink[striped], ink[striped] // 4)
    return ink


def widened(mask: Layer) -> Layer:
    """The largest value within two pixels, along the axes and then along them again."""
    wide = mask
    for _ in range(2):
        padded = np.pad(wide, 1)
        wide = np.maximum.reduce(
            [padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        )
    return wide


def background(scenes: Scenes) -> Layer:
    """What is behind: two muted colors, mixed by a pattern [batch, SIZE, SIZE, 3]."""
    weight = _patterns()[scenes.background, scenes.phase % PHASES]
    first, second = (scenes.shades[:, k, None].astype(np.int32) + scenes.hue.astype(np.int32) for k in (0, 1))
    return first[:, None, None, :] + (second - first)[:, None, None, :] * weight[..., None] // 255


def noise(scenes: Scenes) -> Layer:
    """Noise of each image's strength, from one table that each image reads from its own place."""
    pixels = np.arange(SIZE * SIZE * 3, dtype=np.int64)
    table = _noise_table()
    start = scenes.seed[:, None] % (len(table) - len(pixels))
    drawn = table[start + pixels].reshape(-1, SIZE, SIZE, 3)
    found: Layer = drawn * scenes.noise.astype(np.int32)[:, None, None, None] // 256
    return found


@cache
def _turns() -> npt.NDArray[np.int64]:
    """Sine and cosine of whole degrees as integers [2, 360]."""
    degrees = [math.radians(degree) for degree in range(360)]
    return np.array([[round(f(d) * ONE) for d in degrees] for f in (math.sin, math.cos)], np.int64)


@cache
def _padded_masks() -> Layer:
    """All masks in a row, each with a margin of one empty pixel."""
    with np.load(Path(__file__).parent / "glyphs.npz") as file:
        masks = file["masks"]
    return np.pad(masks, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.int32).reshape(-1)


@cache
def _noise_table() -> Layer:
    """Values from -255 to 255, more often small than large: the sum of two even draws."""
    rows = np.arange(1 << 16, dtype=np.int64)
    total = below(256, "noise", "first", rows) + below(256, "noise", "second", rows) - 255
    return total.astype(np.int32)


@cache
def _patterns() -> Layer:
    """Weights of the second color [backgrounds, PHASES, SIZE, SIZE], 0 to 255."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.int64)
    made = np.zeros((len(BACKGROUNDS), PHASES, SIZE, SIZE), np.int32)
    blobs = _blotches()
    for phase in range(PHASES):
        along = (y, x, y + x, y - x + SIZE)[phase % 4]
        made[1, phase] = along * 255 // along.max()
        made[2, phase] = ((along + phase) // 6 % 2) * 255
        made[3, phase] = (((x + phase) // 8 + (y + phase // 2) // 8) % 2) * 255
        away = ((x - 3 * phase) ** 2 + (y - 40 + 2 * phase) ** 2).tolist()
        made[4, phase] = np.array([[math.isqrt(r) // 7 % 2 * 255 for r in line] for line in away])
        made[5, phase] = np.roll(blobs, (3 * phase, 5 * phase), axis=(0, 1))
    return made


def _blotches() -> npt.NDArray[np.int64]:
    """A cloudy square that can be rolled around: a grid of random values, interpolated."""
    cells = 6
    grid = below(256, "blotches", "value", np.arange(cells * cells, dtype=np.int64)).reshape(cells, cells)
    step = SIZE // cells
    at = np.arange(SIZE)
    low, part = at // step, at % step
    rows: Ints = (grid[low] * (step - part)[:, None] + grid[(low + 1) % cells] * part[:, None]) // step
    found: Ints = (rows[:, low] * (step - part) + rows[:, (low + 1) % cells] * part) // step
    return found
