"""Draws the masks of the world ``symbols``: python pretrain/draw_glyphs.py SHEET.png, then look at the sheet.

Signs come from DejaVu (which matplotlib brings; its licence allows this), the rest is drawn here. The result is data in
the package, so that a later font or Pillow changes nothing.
"""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from efface.symbols.catalogue import DESIGNS, GROUPS, MEMBERS, Group

SIZE = 48
SCALE = 8
FULL = SIZE * SCALE
PACKAGE = Path(__file__).parent.parent / "src" / "efface" / "symbols"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, BOLD, SERIF, SERIF_BOLD = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold"

Point = tuple[float, float]


def typeface(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of matplotlib's fonts."""
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)


class Canvas:
    """A square from -1 to 1 in both directions, y downwards, drawn large and shrunk once."""

    def __init__(self) -> None:
        self.image = Image.new("L", (FULL, FULL), 0)
        self.draw = ImageDraw.Draw(self.image)

    def place(self, points: Iterable[Point]) -> list[Point]:
        """Where points of the square lie on the image, with a margin of a twentieth."""
        return [((x * 0.95 + 1) * FULL / 2, (y * 0.95 + 1) * FULL / 2) for x, y in points]

    def polygon(self, points: Iterable[Point], fill: int = 255) -> None:
        """A filled polygon."""
        self.draw.polygon(self.place(points), fill=fill)

    def line(self, points: Sequence[Point], width: float = 0.14, fill: int = 255) -> None:
        """A line with round ends and corners."""
        placed = self.place(points)
        thick = round(width * FULL / 2)
        self.draw.line(placed, fill=fill, width=thick, joint="curve")
        for x, y in (placed[0], placed[-1]):
            self.draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=fill)

    def disc(self, centre: Point, radius: float, fill: int = 255) -> None:
        """A filled circle."""
        (x, y), r = centre, radius
        (left, top), (right, bottom) = self.place([(x - r, y - r), (x + r, y + r)])
        self.draw.ellipse((left, top, right, bottom), fill=fill)

    def ring(self, centre: Point, radius: float, width: float = 0.12) -> None:
        """A circle's line."""
        around = [
            (centre[0] + radius * math.cos(t / 60 * math.tau), centre[1] + radius * math.sin(t / 60 * math.tau))
            for t in range(61)
        ]
        self.line(around, width)

    def box(self, half: float, round_: float, fill: int = 255) -> None:
        """A filled square with round corners."""
        (left, top), (right, bottom) = self.place([(-half, -half), (half, half)])
        self.draw.rounded_rectangle((left, top, right, bottom), round_ * FULL / 2, fill=fill)

    def text(self, text: str, font: str = SANS, *, half: float = 1.0, centre: Point = (0, 0), fill: int = 255) -> None:
        """Text scaled so that its ink fills a square of this half width around a point."""
        trial = 400
        left, top, right, bottom = typeface(font, trial).getbbox(text)
        face = typeface(font, int(trial * half * 0.95 * FULL / max(right - left, bottom - top)))
        left, top, right, bottom = face.getbbox(text)
        ((x, y),) = self.place([centre])
        self.draw.text((x - (left + right) / 2, y - (top + bottom) / 2), text, font=face, fill=fill)


Drawing = Callable[[Canvas], None]


def sign(text: str, font: str = SANS, half: float = 1.0) -> Drawing:
    """A glyph, as large as the square."""
    return lambda c: c.text(text, font, half=half)


def on_disc(text: str, font: str = BOLD, half: float = 0.6) -> Drawing:
    """A glyph cut out of a disc."""

    def draw(c: Canvas) -> None:
        c.disc((0, 0), 1)
        c.text(text, font, half=half, fill=0)

    return draw


def on_key(text: str) -> Drawing:
    """A glyph cut out of a key of a keyboard."""

    def draw(c: Canvas) -> None:
        c.box(0.95, 0.25)
        c.text(text, BOLD, half=0.6, fill=0)

    return draw


def on_plate(text: str) -> Drawing:
    """A glyph cut out of a square plate."""

    def draw(c: Canvas) -> None:
        c.box(0.92, 0.1)
        c.text(text, half=0.72, fill=0)

    return draw


def in_coin(text: str) -> Drawing:
    """A glyph in a coin with a rim."""

    def draw(c: Canvas) -> None:
        c.disc((0, 0), 1)
        c.disc((0, 0), 0.86, fill=0)
        c.disc((0, 0), 0.76)
        c.text(text, BOLD, half=0.5, fill=0)

    return draw


def on_staff(text: str) -> Drawing:
    """A note on five lines."""

    def draw(c: Canvas) -> None:
        for y in (-0.8, -0.4, 0.0, 0.4, 0.8):
            c.line([(-0.95, y), (0.95, y)], 0.03)
        c.text(text, BOLD, half=0.85)

    return draw


def card(text: str) -> Drawing:
    """A playing card."""

    def draw(c: Canvas) -> None:
        (left, top), (right, bottom) = c.place([(-0.72, -1), (0.72, 1)])
        c.draw.rounded_rectangle((left, top, right, bottom), 0.16 * FULL / 2, fill=255)
        c.text(text, half=0.45, fill=0)
        for x, y in ((-0.5, -0.78), (0.5, 0.78)):
            c.text(text, half=0.14, centre=(x, y), fill=0)

    return draw


def three(text: str) -> Drawing:
    """Three small pips."""

    def draw(c: Canvas) -> None:
        for centre in ((0.0, -0.5), (-0.52, 0.5), (0.52, 0.5)):
            c.text(text, half=0.44, centre=centre)

    return draw


def morse(code: str) -> Drawing:
    """Dots and dashes, one under the other."""

    def draw(c: Canvas) -> None:
        step = 2 / len(code)
        for row, mark in enumerate(code):
            y = -1 + step * (row + 0.5)
            if mark == ".":
                c.disc((0, y), 0.17)
            else:
                c.line([(-0.7, y), (0.7, y)], 0.28)

    return draw


def stars(points: Sequence[Point], links: Sequence[tuple[int, int]]) -> Drawing:
    """A constellation: bright dots and thin lines."""

    def draw(c: Canvas) -> None:
        for a, b in links:
            c.line([points[a], points[b]], 0.06)
        for point in points:
            c.disc(point, 0.13)

    return draw


def chain(*points: Point) -> Drawing:
    """A constellation whose stars follow one another."""
    return stars(points, [(i, i + 1) for i in range(len(points) - 1)])


def corners(n: int, radius: float = 1.0, turn: float = 0.0) -> list[Point]:
    """The corners of a regular polygon, the first at the top."""
    return [
        (radius * math.sin((k / n + turn) * math.tau), -radius * math.cos((k / n + turn) * math.tau)) for k in range(n)
    ]


def star(n: int, inner: float) -> Drawing:
    """A solid star."""
    pairs = zip(corners(n), corners(n, inner, 0.5 / n), strict=True)
    return lambda c: c.polygon([p for pair in pairs for p in pair])


def chords(n: int, step: int) -> Drawing:
    """A star of straight lines from corner to corner."""

    def draw(c: Canvas) -> None:
        points = corners(n, 0.95)
        for k in range(n):
            c.line([points[k], points[(k + step) % n]], 0.1)

    return draw


def four_chords(c: Canvas) -> None:
    """A square on its corner around a cross: four points have no star of chords."""
    points = corners(4, 0.95)
    c.line([*points, points[0], points[1]], 0.1)
    c.line([points[0], points[2]], 0.1)
    c.line([points[1], points[3]], 0.1)


def rays(n: int) -> Drawing:
    """Arms from a centre that grow thicker outwards."""

    def draw(c: Canvas) -> None:
        for x, y in corners(n, 0.85):
            c.line([(0, 0), (x, y)], 0.09)
            c.disc((x, y), 0.17)

    return draw


def solid(n: int) -> Drawing:
    """A filled regular polygon; with 0 corners a disc."""
    return (lambda c: c.polygon(upright(n))) if n else (lambda c: c.disc((0, 0), 0.95))


def upright(n: int) -> list[Point]:
    """A regular polygon that stands on a side."""
    points = corners(n, 1.0, 0.5 / n if n % 2 == 0 else 0)
    grow = 1.25 if n == 4 else 1.0
    return [(x * grow, y * grow + (0.2 if n == 3 else 0)) for x, y in points]


def frame(n: int) -> Drawing:
    """A thick line around a shape."""

    def draw(c: Canvas) -> None:
        points = [(x * 0.87, y * 0.87) for x, y in upright(n or 60)]
        c.line([*points, points[0], points[1]], 0.2)

    return draw


def dots(n: int) -> Drawing:
    """A shape's line made of dots."""

    def draw(c: Canvas) -> None:
        points = [(x * 0.85, y * 0.85) for x, y in upright(n or 12)]
        between = 1 if n == 0 else {3: 4, 4: 3, 6: 2}[n]
        for k, (x, y) in enumerate(points):
            nx, ny = points[(k + 1) % len(points)]
            for part in range(between):
                c.disc((x + (nx - x) * part / between, y + (ny - y) * part / between), 0.13)

    return draw


def banded(
    bands: Sequence[tuple[float, float]], *, ring: bool = False, spot: Point | None = None, size: float = 0.95
) -> Drawing:
    """A planet as a telescope shows it: dark bands, a spot."""

    def draw(c: Canvas) -> None:
        c.disc((0, 0), size)
        for y, width in bands:
            c.line([(-1, y), (1, y)], width, fill=0)
        if spot is not None:
            c.disc(spot, 0.22, fill=0)

    return draw


def craters(c: Canvas) -> None:
    """A small body with craters."""
    c.disc((0, 0), 0.7)
    for centre, radius in (((-0.3, -0.25), 0.17), ((0.28, 0.05), 0.2), ((-0.15, 0.38), 0.13), ((0.2, -0.42), 0.1)):
        c.disc(centre, radius, fill=0)


def crescent(c: Canvas) -> None:
    """Venus, lit from one side."""
    c.disc((0, 0), 0.95)
    c.disc((0.5, -0.05), 0.8, fill=0)


def caps(c: Canvas) -> None:
    """Mars: two polar caps cut off, and a canal between two lakes."""
    c.disc((0, 0), 0.9)
    c.line([(-0.7, -0.62), (0.7, -0.62)], 0.12, fill=0)
    c.line([(-0.7, 0.62), (0.7, 0.62)], 0.12, fill=0)
    c.line([(-0.45, 0.15), (0.4, -0.15)], 0.08, fill=0)
    c.disc((-0.45, 0.15), 0.15, fill=0)
    c.disc((0.4, -0.15), 0.15, fill=0)


def saturn(c: Canvas) -> None:
    """A ball in a wide ring."""
    c.disc((0, 0), 0.55)
    (left, top), (right, bottom) = c.place([(-1, -0.32), (1, 0.32)])
    c.draw.ellipse((left, top, right, bottom), outline=255, width=FULL // 18)
    c.line([(-0.48, -0.05), (0.48, -0.05)], 0.07, fill=0)


def sunrise(c: Canvas) -> None:
    """Half a sun over the horizon."""
    c.disc((0, 0.35), 0.5)
    c.polygon([(-1, 0.4), (1, 0.4), (1, 1), (-1, 1)], fill=0)
    c.line([(-0.95, 0.55), (0.95, 0.55)], 0.13)
    for x, y in corners(12):
        if y < 0.1:
            c.line([(x * 0.68, y * 0.68 + 0.35), (x * 0.95, y * 0.95 + 0.35)], 0.11)


def cloud(c: Canvas, y: float = 0.0, fill: int = 255) -> None:
    """Three discs on a bar."""
    for centre, radius in (((-0.5, 0.1 + y), 0.38), ((0.05, -0.2 + y), 0.5), ((0.55, 0.12 + y), 0.36)):
        c.disc(centre, radius, fill=fill)
    c.line([(-0.5, 0.3 + y), (0.55, 0.3 + y)], 0.36, fill=fill)


def hollow_cloud(c: Canvas) -> None:
    """A cloud with a lighter heart."""
    cloud(c)
    for centre, radius in (((-0.45, 0.12), 0.2), ((0.05, -0.15), 0.3), ((0.5, 0.14), 0.18)):
        c.disc(centre, radius, fill=0)
    c.line([(-0.45, 0.22), (0.5, 0.22)], 0.18, fill=0)


def rain(c: Canvas) -> None:
    """A cloud, and what falls from it."""
    cloud(c, -0.35)
    for x in (-0.55, 0.0, 0.55):
        c.line([(x + 0.1, 0.35), (x - 0.1, 0.85)], 0.12)


def bolt(c: Canvas) -> None:
    """A bolt with corners."""
    c.polygon([(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.2), (0.05, -0.2)])


def storm(c: Canvas) -> None:
    """A cloud with a bolt."""
    cloud(c, -0.4)
    c.line([(0.2, 0.1), (-0.2, 0.45), (0.15, 0.5), (-0.15, 0.95)], 0.13)


def closed_umbrella(c: Canvas) -> None:
    """Folded, tip down, handle up."""
    c.polygon([(-0.42, -0.35), (0.42, -0.35), (0, 0.95)])
    c.line([(0, -0.3), (0, -0.75)], 0.1)
    c.ring((0.18, -0.75), 0.18, 0.1)


def parasol(c: Canvas) -> None:
    """A beach umbrella, half a disc on a slanted pole."""
    c.disc((0, 0), 0.9)
    c.polygon([(-1, 0), (1, 0), (1, 1), (-1, 1)], fill=0)
    c.line([(0, 0), (0.25, 0.95)], 0.12)
    for x in (-0.45, 0.0, 0.45):
        c.line([(0, -0.9), (x, 0)], 0.05, fill=0)


def full_moon(c: Canvas) -> None:
    """A face in a full moon."""
    c.disc((0, 0), 0.92)
    c.disc((-0.32, -0.2), 0.14, fill=0)
    c.disc((0.32, -0.2), 0.14, fill=0)
    c.line([(-0.4, 0.35), (-0.2, 0.5), (0.2, 0.5), (0.4, 0.35)], 0.1, fill=0)


def moon_and_star(c: Canvas) -> None:
    """A thick crescent with a star in its arms."""
    c.disc((-0.1, 0), 0.9)
    c.disc((0.25, 0), 0.72, fill=0)
    c.polygon(
        [(x * 0.32 + 0.45, y * 0.32) for pair in zip(corners(5), corners(5, 0.4, 0.1), strict=True) for x, y in pair]
    )


def flake(c: Canvas) -> None:
    """Six arms with branches."""
    for x, y in corners(6, 0.95):
        c.line([(0, 0), (x, y)], 0.09)
        for turn in (0.12, -0.12):
            angle = math.atan2(y, x) + turn * math.tau
            c.line([(x * 0.55, y * 0.55), (x * 0.55 + 0.35 * math.cos(angle), y * 0.55 + 0.35 * math.sin(angle))], 0.08)


def icicles(c: Canvas) -> None:
    """Three small flakes."""
    for cx, cy in ((0.0, -0.5), (-0.52, 0.48), (0.52, 0.48)):
        for x, y in corners(3, 0.42):
            c.line([(cx - x, cy - y), (cx + x, cy + y)], 0.1)


def block_arrow(turn: int) -> Drawing:
    """A thick arrow; quarter turns clockwise from up."""

    def draw(c: Canvas) -> None:
        shape = [(0, -0.95), (0.8, -0.05), (0.38, -0.05), (0.38, 0.95), (-0.38, 0.95), (-0.38, -0.05), (-0.8, -0.05)]
        for _ in range(turn):
            shape = [(-y, x) for x, y in shape]
        c.polygon(shape)

    return draw


CONSTELLATIONS: dict[str, Drawing] = {
    "aries": chain((-0.9, 0.35), (-0.1, -0.35), (0.6, -0.2), (0.9, 0.3)),
    "taurus": stars(
        [(-0.9, -0.8), (-0.25, 0.1), (0.0, 0.45), (0.3, 0.05), (0.95, -0.85), (0.1, 0.95)],
        [(0, 1), (1, 2), (2, 3), (3, 4), (2, 5)],
    ),
    "gemini": stars(
        [(-0.45, -0.9), (0.45, -0.9), (-0.5, 0.0), (0.5, 0.0), (-0.75, 0.9), (0.75, 0.9)],
        [(0, 2), (1, 3), (2, 4), (3, 5), (2, 3)],
    ),
    "leo": stars(
        [(0.35, -0.9), (0.75, -0.6), (0.4, -0.2), (0.55, 0.35), (-0.9, 0.55), (-0.5, -0.1)],
        [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 2)],
    ),
    "libra": stars(
        [(0, -0.9), (-0.65, -0.1), (0.65, -0.1), (-0.85, 0.9), (0.85, 0.9)], [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4)]
    ),
    "pisces": stars(
        [(-0.9, -0.9), (-0.3, 0.0), (0.1, 0.85), (0.45, 0.3), (0.9, -0.1), (0.55, -0.5), (0.9, -0.6)],
        [(0, 1), (1, 2), (2, 3), (3, 5), (5, 6), (6, 4), (4, 3)],
    ),
}


def drawings() -> dict[str, tuple[Drawing, Drawing, Drawing]]:
    """The three drawings of every member, in the order in which the catalogue names them."""
    return named_in_rows() | drawn_here()


def named_in_rows() -> dict[str, tuple[Drawing, Drawing, Drawing]]:
    """Groups whose members are drawn alike: one row of texts a design."""
    chess, suits, numbers, greek, zodiac, planets, _, music, _, maths, _, _, money, emblems = GROUPS
    pictures = (
        craters,
        crescent,
        caps,
        banded([(-0.45, 0.14), (-0.1, 0.1), (0.5, 0.16)], spot=(0.3, 0.22)),
        saturn,
        banded([], spot=(-0.25, 0.2), size=0.6),
    )
    cut_out = partial(on_disc, font=SANS, half=0.68)
    serif_letter = partial(sign, font=SERIF_BOLD, half=0.85)
    bold = partial(sign, font=BOLD)
    return (
        rows(chess, map(sign, "♔♕♖♗♘♙"), map(sign, "♚♛♜♝♞♟"), map(serif_letter, "KQRBNP"))
        | rows(suits, map(sign, "♠♥♦♣"), map(card, "♠♥♦♣"), map(three, "♠♥♦♣"))
        | rows(
            numbers,
            map(sign, "⚀⚁⚂⚃⚄⚅"),
            map(bold, "123456"),
            map(partial(sign, font=SERIF, half=0.85), ("I", "II", "III", "IV", "V", "VI")),
        )
        | rows(
            greek,
            map(sign, "ΓΛΞΠΨΩ"),
            map(serif_letter, "γλξπψω"),
            map(morse, ("--.", ".-..", "-..-", ".--.", "--.-", ".-")),
        )
        | rows(
            zodiac,
            map(sign, "♈♉♊♌♎♓"),
            map(CONSTELLATIONS.__getitem__, zodiac.members),
            map(bold, ("Ari", "Tau", "Gem", "Leo", "Lib", "Psc")),
        )
        | rows(planets, map(sign, "☿♀♂♃♄♆"), pictures, map(bold, ("Me", "Ve", "Ma", "Ju", "Sa", "Ne")))
        | rows(music, map(sign, "♩♪♫♭♮♯"), map(on_staff, "♩♪♫♭♮♯"), map(on_disc, "♩♪♫♭♮♯"))
        | rows(maths, map(partial(sign, font=SERIF, half=0.8), "+×÷√∫∞"), map(bold, "✚✖÷√∫∞"), map(on_key, "+×÷√∫∞"))
        | rows(money, map(bold, "$€£¥"), map(in_coin, "$€£¥"), map(bold, ("USD", "EUR", "GBP", "JPY")))
        | rows(emblems, map(sign, "☠⚓⚖☢♻"), map(on_plate, "☠⚓⚖☢♻"), map(cut_out, "☠⚓⚖☢♻"))
    )


def drawn_here() -> dict[str, tuple[Drawing, Drawing, Drawing]]:
    """Groups whose drawings are mostly not of a font."""
    arrows, weather, stars_, shapes = (GROUPS[row] for row in (6, 8, 10, 11))
    return (
        rows(arrows, map(sign, "↑↓←→"), map(block_arrow, (0, 2, 3, 1)), map(sign, "☝☟☜☞"))
        | rows(
            weather,
            (sign("☀"), cloud, sign("☂"), sign("❄"), bolt, sign("☾")),
            (sign("☼"), hollow_cloud, parasol, flake, sign("☇"), moon_and_star),
            (sunrise, rain, closed_umbrella, icicles, storm, full_moon),
        )
        | rows(
            stars_,
            map(star, (4, 5, 6, 8), (0.35, 0.42, 0.55, 0.6)),
            (four_chords, chords(5, 2), chords(6, 2), chords(8, 3)),
            map(rays, (4, 5, 6, 8)),
        )
        | rows(shapes, map(solid, (0, 4, 3, 6)), map(frame, (0, 4, 3, 6)), map(dots, (0, 4, 3, 6)))
    )


def rows(group: Group, *designs: Iterable[Drawing]) -> dict[str, tuple[Drawing, Drawing, Drawing]]:
    """The drawings of a group's members, given design by design."""
    return {member: each for member, each in zip(group.members, zip(*designs, strict=True), strict=True)}


def masks() -> np.ndarray:
    """All masks [members, designs, SIZE, SIZE], 0 outside and 255 inside."""
    found = drawings()
    drawn = np.zeros((len(MEMBERS), DESIGNS, SIZE, SIZE), np.uint8)
    for row, member in enumerate(MEMBERS):
        for design, drawing in enumerate(found[member]):
            canvas = Canvas()
            drawing(canvas)
            drawn[row, design] = np.asarray(canvas.image.resize((SIZE, SIZE), Image.Resampling.BOX))
    return drawn


def main() -> None:
    """Writes the masks into the package, and a sheet of them to look at."""
    drawn = masks()
    np.savez_compressed(PACKAGE / "glyphs.npz", masks=drawn)
    columns = 5
    padded = np.zeros((-(-len(MEMBERS) // columns) * columns, DESIGNS, SIZE, SIZE), np.uint8)
    padded[: len(MEMBERS)] = drawn
    sheet = padded.reshape(-1, columns * DESIGNS, SIZE, SIZE).swapaxes(1, 2).reshape(-1, columns * DESIGNS * SIZE)
    Image.fromarray(sheet).save(sys.argv[1])


if __name__ == "__main__":
    main()
