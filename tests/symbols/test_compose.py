import hashlib
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from efface.symbols.catalogue import COLORS, MEMBERS, STYLES
from efface.symbols.compose import SIZE, Layer, Scenes, compose, noise, placed_masks, styled, widened
from efface.symbols.splits import SPLITS, scenes

PINNED = Path(__file__).parent / "hashes.json"


def plain(**changes: int) -> Scenes:
    """One upright solid sign in its full size on black, without noise."""
    values = {field.name: 0 for field in fields(Scenes)} | {"size": SIZE} | changes
    wide = {"tint": 3, "hue": 3, "shades": 2}
    return Scenes(**{name: np.full((1, wide[name]) if name in wide else 1, v, np.int64) for name, v in values.items()})


def masks() -> Layer:
    import efface.symbols.compose as module

    with np.load(Path(module.__file__).parent / "glyphs.npz") as file:
        found: Layer = file["masks"].astype(np.int32)
    return found


def hashes() -> dict[str, list[str]]:
    """Of twenty images of each of five splits, those of the middle."""
    found = {}
    for name in ("train", "test", "unseen", "forget", "calibration"):
        middle = SPLITS[name].size // 2
        drawn = compose(scenes(name).take(slice(middle, middle + 20)))
        found[name] = [hashlib.sha256(image.tobytes()).hexdigest() for image in drawn]
    return found


def test_a_hundred_images_are_what_they_were() -> None:
    """Models and figures belong to exactly these images; a change of the world is a new world."""
    assert hashes() == json.loads(PINNED.read_text(encoding="utf-8"))


def test_composing_needs_no_pillow() -> None:
    code = "import sys, efface.symbols.compose, efface.symbols.splits; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    chosen = scenes("test").take(slice(100, 140))
    assert (compose(chosen)[7:9] == compose(chosen.take(slice(7, 9)))).all()


def test_an_upright_sign_of_full_size_is_its_mask() -> None:
    for member in (0, 20, len(MEMBERS) - 1):
        assert (placed_masks(plain(member=member, design=1))[0] == masks()[member, 1]).all()


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    turned = placed_masks(plain(member=4, angle=90))[0]
    assert (turned == np.rot90(masks()[4, 0], -1)).all()


def test_a_shift_moves_to_the_right_and_down() -> None:
    moved = placed_masks(plain(member=4, x=3, y=5))[0]
    assert (moved[5:, 3:] == masks()[4, 0][:-5, :-3]).all()
    assert not moved[:5].any()


def test_a_smaller_sign_keeps_its_share_of_ink() -> None:
    """Half the side is a quarter of the area."""
    small = placed_masks(plain(member=MEMBERS.index("square"), size=SIZE // 2))[0]
    full = masks()[MEMBERS.index("square"), 0]
    assert abs(small.sum() / full.sum() - 0.25) < 0.02
    assert not small[: SIZE // 4 - 1].any()


def test_a_solid_sign_is_painted_in_its_color() -> None:
    square = MEMBERS.index("square")
    image = compose(plain(member=square, color=4))[0]
    middle = SIZE // 2
    assert image[middle, middle].tolist() == list(COLORS["blue"])
    assert image[0, 0].tolist() == [0, 0, 0]


def test_an_outline_leaves_the_inside_empty_and_lies_around_the_sign() -> None:
    square = plain(member=MEMBERS.index("square"), size=SIZE // 2, style=list(STYLES).index("outline"))
    mask = placed_masks(square)
    ink = styled(mask, square)[0]
    assert not ink[mask[0] == 255].any()
    assert ink[widened(mask[0]) == 255].sum() > 0
    assert not ink[widened(mask[0]) == 0].any()


def test_stripes_thin_two_of_four_rows_and_nothing_else() -> None:
    square = plain(member=MEMBERS.index("square"), style=list(STYLES).index("stripes"))
    ink = styled(placed_masks(square), square)[0]
    middle = ink[8:40, SIZE // 2]
    assert middle.tolist() == [255, 255, 63, 63] * 8


def test_a_shadow_darkens_only_below_and_to_the_right() -> None:
    """On a light ground: three pixels below and right of a square of 24 pixels, nothing above or left of it."""
    base = plain(member=MEMBERS.index("square"), size=SIZE // 2)
    base = replace(base, shades=np.full((1, 2), 200, np.int64))
    without, with_ = (compose(replace(base, style=np.array([list(STYLES).index(s)])))[0] for s in ("solid", "shadow"))
    changed = np.argwhere((without != with_).any(-1))
    assert len(changed)
    assert changed.min() >= SIZE // 4
    assert (with_ <= without).all()


def test_widening_reaches_two_pixels() -> None:
    dot = np.zeros((9, 9), np.int32)
    dot[4, 4] = 100
    y, x = np.mgrid[:9, :9]
    assert ((widened(dot) == 100) == (abs(y - 4) + abs(x - 4) <= 2)).all()


def test_noise_is_as_strong_as_it_says() -> None:
    """The table is the sum of two even draws less its mean: standard deviation 104.5; a strength of 128 halves it."""
    drawn = noise(plain(noise=128, seed=5))
    assert abs(drawn.std() - 104.5 / 2) < 2
    assert abs(drawn.mean()) < 3
    assert not noise(plain(noise=0)).any()
