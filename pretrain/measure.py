"""The tables of docs/symbols.md and pretrain/README.md: python pretrain/measure.py [--build pretrain/build].

Accuracy of the shipped models on test splits, of the gold models on what they were trained without and on the rest, and
of runs with another seed and gold models without ten members where the build folder has them. Top-1 in percent with
95 % Wilson intervals.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from make import TEN, again, ten

import efface
from efface.backends.base import LoadedCLIP
from efface.data.prompts import texts
from efface.data.symbols import SymbolImages
from efface.encoding import encode_classes
from efface.functional.metrics import wilson_interval
from efface.symbols.catalogue import GROUP_OF, GROUPS, MEMBERS, design_names
from efface.symbols.compose import Scenes
from efface.symbols.splits import scenes

TEMPLATES = ("a photo of a {}.",)
KNIGHT = MEMBERS.index("knight")
SPLITS = ("test", "unseen")
NOTATION, TEN_MEMBERS = "its design `notation`", "ten members"


def answers(clip: LoadedCLIP, found: Scenes) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image's member was right, and whether its group was [images] each."""
    classes = (list(MEMBERS), [group.name for group in GROUPS])
    members, groups = (
        encode_classes(clip.encoder, clip.class_tokens([texts(TEMPLATES, name) for name in some])) for some in classes
    )
    images = SymbolImages(found, torch.from_numpy(found.member), clip.preprocess)
    told: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.no_grad():
        for batch, _ in images.batches(256):
            features = clip.encoder.encode_image(batch)
            told.append(((features @ members.T).argmax(1), (features @ groups.T).argmax(1)))
    by_member, by_group = (torch.cat(some).numpy() for some in zip(*told, strict=True))
    return by_member == found.member, by_group == np.array(GROUP_OF)[found.member]


def percent(right: np.ndarray) -> str:
    """A share in percent with its interval."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return f"{100 * right.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def row(cells: Iterable[str]) -> None:
    """A row of a table."""
    print("| " + " | ".join(cells) + " |")


def tower_row(name: str, clip: LoadedCLIP) -> None:
    """A tower on both judging splits."""
    cells = [percent(right) for split in SPLITS for right in answers(clip, scenes(split))]
    row([f"`{name}`", clip.library, str(len(scenes("test"))), *cells])


def left_out(what: str, found: Scenes) -> np.ndarray:
    """Which scenes show what a gold model was trained without."""
    if what == TEN_MEMBERS:
        out: np.ndarray = np.isin(found.member, [MEMBERS.index(name) for name in TEN])
    else:
        out = found.member == KNIGHT
    if what == NOTATION:
        out = out & (found.design == design_names(KNIGHT).index("notation"))
    return out


def gold_row(name: str, clip: LoadedCLIP, base: LoadedCLIP, what: str) -> None:
    """A gold model on what it was trained without, and on the rest, beside the model that was trained with it."""
    found = scenes("test")
    without = left_out(what, found)
    gold, whole = answers(clip, found)[0], answers(base, found)[0]
    cells = [f"{percent(gold[part])}; with it {percent(whole[part])}" for part in (without, ~without)]
    row([f"`{name}`", what, *cells])


def from_build(build: Path, runs: Iterable[str]) -> Iterator[tuple[str, LoadedCLIP]]:
    """Those runs of ``make.py`` that are finished."""
    for name in runs:
        folder = build / name / "model"
        if folder.is_dir():
            yield name, efface.load(str(folder) if "-vit-" in name else f"local-dir:{folder}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path(__file__).parent / "build")
    build = parser.parse_args().build
    loaded = {tower: efface.load(f"builtin:symbols-{tower}") for tower in ("vit", "rn")}
    for tower, clip in loaded.items():
        tower_row(f"builtin:symbols-{tower}", clip)
    for tower, clip in loaded.items():
        for gold, what in (("without-knight", "knight"), ("without-knight-notation", NOTATION)):
            name = f"builtin:symbols-{tower}-{gold}"
            gold_row(name, efface.load(name), clip, what)
    for tower, clip in loaded.items():
        for name, built in from_build(build, again(tower)):
            tower_row(name, built)
        for name, built in from_build(build, ten(tower)):
            gold_row(name, built, clip, TEN_MEMBERS)


if __name__ == "__main__":
    main()
