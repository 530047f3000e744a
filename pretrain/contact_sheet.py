"""The world ``symbols`` on one page: python pretrain/contact_sheet.py docs/symbols.jpg.

A row is a group; each member stands there in its three designs, as three images of the test split.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from efface.data.symbols import drawn
from efface.symbols.catalogue import DESIGNS, GROUPS, MEMBERS
from efface.symbols.compose import SIZE
from efface.symbols.splits import scenes

LABEL, NAME, GAP = 170, 18, 2
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def main() -> None:
    """Draws the sheet."""
    # Members take turns in a split and designs after them: the first images are each member in each design.
    images = drawn(scenes("test").take(np.arange(len(MEMBERS) * DESIGNS))).reshape(DESIGNS, len(MEMBERS), SIZE, SIZE, 3)
    columns = max(len(group.members) for group in GROUPS) * DESIGNS
    row_height = SIZE + NAME + GAP
    sheet = Image.new("RGB", (LABEL + columns * (SIZE + GAP), len(GROUPS) * row_height), "white")
    pen = ImageDraw.Draw(sheet)
    small, large = (ImageFont.truetype(str(FONT), size) for size in (11, 15))
    for row, group in enumerate(GROUPS):
        top = row * row_height
        pen.text((4, top + NAME + SIZE // 2 - 8), group.name, font=large, fill="black")
        for place, member in enumerate(group.members):
            left = LABEL + place * DESIGNS * (SIZE + GAP)
            pen.text((left, top + 3), member, font=small, fill="black")
            for design in range(DESIGNS):
                image = Image.fromarray(images[design, MEMBERS.index(member)])
                sheet.paste(image, (left + design * (SIZE + GAP), top + NAME))
    sheet.save(sys.argv[1], quality=90)


if __name__ == "__main__":
    main()
