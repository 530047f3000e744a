"""Drawings by matplotlib that stand inside a page: its colors, its font, and words for those who cannot see them."""

import io
import re
from collections.abc import Callable, Mapping
from html import escape

import matplotlib
from matplotlib.figure import Figure

# Colors that matplotlib draws with, and what replaces them: a page in the dark has other ones.
INK, FAINT, BEFORE, AFTER = "#010101", "#020202", "#030303", "#040404"
_COLORS = {
    INK: "currentColor",
    FAINT: "var(--chart-faint)",
    BEFORE: "var(--chart-before)",
    AFTER: "var(--chart-after)",
}
_STYLE = """<style>
.drawing{--chart-faint:#8886;--chart-before:#8b97a6;--chart-after:#c2571a;
font-family:system-ui,"DejaVu Sans",sans-serif;stroke-linejoin:round}
@media (prefers-color-scheme:dark){.drawing{--chart-before:#76869a;--chart-after:#e8884a}}
</style>"""


def drawing(
    width: float, height: float, draw: Callable[[Figure], None], *, words: str, texts: Mapping[str, str]
) -> str:
    """An inline SVG.

    Args:
        width: in points, which are the units of the view box.
        height: in points.
        draw: draws on the figure it is handed, with the colors above.
        words: what the drawing says; its text alternative and its title.
        texts: what replaces the texts ``@NAME@``. A user's names never pass through matplotlib: its fonts do not have
            all scripts.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # The salt keeps the ids of one drawing apart from those of the next on the same page.
        matplotlib.rcParams.update({"svg.hashsalt": words, "svg.fonttype": "none", "font.size": 10})
        # It would take a line without a length, which is a dot, for none.
        matplotlib.rcParams["path.simplify"] = False
        figure = Figure(figsize=(width / 72, height / 72))
        draw(figure)
        file = io.StringIO()
        unset = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", transparent=True, metadata=unset)
    svg = _tidy(file.getvalue())
    svg = re.sub(r">@(\w+)@<", lambda m: f">{escape(texts[m[1]])}<", svg)
    said = escape(words)
    start = f'<svg class="drawing" role="img" aria-label="{said}"'
    return re.sub(r"<svg ([^>]*)>", lambda m: f"{start} {m[1]}>\n<title>{said}</title>\n{_STYLE}", svg, count=1)


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis, in at most ``length`` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _tidy(svg: str) -> str:
    """The drawing without a header, its own style, sizes or fonts: the page has those."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    svg = re.sub(r' id="(figure|axes|patch|text|[xy]tick|line2d|LineCollection|matplotlib)[^"]*"', "", svg)
    # A thousandth of a point is more than enough.
    svg = re.sub(r'(?<= d=")[^"]*', lambda m: re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.3f}", m[0]), svg)
    for color, replacement in _COLORS.items():
        svg = svg.replace(color, replacement)
    return svg
