"""A small run on real formats: a random CLIP folder, class folders of pictures, names in a file."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from efface.data.symbols import drawn
from efface.symbols.catalogue import MEMBERS
from efface.symbols.splits import scenes
from tests.tiny_open_clip import VIT, write_open_clip

NAMES = ("cat", "dog", "fox")
SHARD = 200


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


def write_symbol_shards(folder: Path, each: int) -> Path:
    """Some held-out images of each member of the embedded world, as CLIP_benchmark lays them out."""
    everything = scenes("validation")
    rows = np.concatenate([np.flatnonzero(everything.member == member)[:each] for member in range(len(MEMBERS))])
    some = everything.take(rows)
    (folder / "test").mkdir(parents=True)
    shards = range(0, len(rows), SHARD)
    for number, first in enumerate(shards):
        with tarfile.open(folder / "test" / f"{number}.tar", "w") as tar:
            for row, pixels in enumerate(drawn(some.take(slice(first, first + SHARD))), start=first):
                image = io.BytesIO()
                Image.fromarray(pixels).save(image, "PNG")
                _add(tar, f"s{row:07d}.png", image.getvalue())
                _add(tar, f"s{row:07d}.cls", str(int(some.member[row])).encode())
    (folder / "test" / "nshards.txt").write_text(f"{len(shards)}\n")
    (folder / "classnames.txt").write_text("\n".join(MEMBERS) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\nthe {c}.\n")
    return folder


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
