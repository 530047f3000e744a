"""A small run on real formats: a random CLIP folder, class folders of pictures, names in a file."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from tests.tiny_open_clip import VIT, write_open_clip

NAMES = ("cat", "dog", "fox")


@dataclass(frozen=True, slots=True)
class World:
    """Paths, as a person would pass them."""

    model: str
    data: str
    names: str


def write_world(folder: Path, names: tuple[str, ...] = NAMES) -> World:
    """Three classes of four noisy pictures each."""
    # In half precision, as most checkpoints are: weights must be rounded before they are measured.
    model = write_open_clip(folder / "clip", VIT, dtype=torch.float16)
    for label, name in enumerate(names):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(4):
            picture = Image.effect_noise((40, 36), 20 + 30 * label + index).convert("RGB")
            picture.save(folder / "pictures" / name / f"{index}.png")
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return World(f"local-dir:{model}", str(folder / "pictures"), str(folder / "names.txt"))
