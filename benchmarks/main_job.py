"""Forgets classes by name from the small natural CLIP, by every method, and makes the table of what it did.

    EFFACE_NATURAL=FOLDER python benchmarks/main_job.py [--seeds 3] [--out benchmarks/results/main_job]

Protocol. Figures come from half B of each class's images (odd index within the class); nothing was tuned on them.
Classes are drawn among those that the model knows (at least 15 of 50 validation images right), less those that
settings were tried out on: two easiest, two in the middle, two hardest. Every finished cell is a line in cells.jsonl,
so a run that was cut off goes on where it was. Intervals come from a bootstrap over images (the same for all seeds of
a class) and seeds.
"""

import argparse
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import efface
from efface.backends.base import LoadedCLIP
from efface.cli import TEMPLATES
from efface.data.holdout import EvalData
from efface.data.images import Encoded, EncodedImages, StoredImages
from efface.data.prompts import class_names_from, texts
from efface.data.sources import open_source
from efface.evaluation.zero_shot import Answers, Pair, answer
from efface.types import Silent

TRIED = ("monarch", "pizza", "gorilla", "koala", "espresso", "goldfish", "lion")
"""Classes that settings were tried out on; no figure comes from them."""
METHODS = {"lip paper": ("lip", "paper"), "lip default": ("lip", "default"), "projection": ("projection", "default")}
SEEDED = ("lip",)
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of stored images."""

    stored: EncodedImages
    kept: list[int]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, row: int) -> Encoded:
        return self.stored[self.kept[row]]


def half(data: EvalData, odd: bool) -> EvalData:
    """The images whose index within their class is odd (half B) or even (half A)."""
    seen: Counter[int] = Counter()
    kept = []
    for row, label in enumerate(data.images.labels.tolist()):
        if seen[label] % 2 == odd:
            kept.append(row)
        seen[label] += 1
    images = data.images
    if not isinstance(images, StoredImages):
        raise TypeError(f"expected stored images, got {type(images).__name__}")
    return replace(data, images=replace(images, rows=Rows(images.rows, kept), labels=images.labels[kept]))


def ask(base: LoadedCLIP, edited: LoadedCLIP | None, data: EvalData, target: int | None) -> Answers:
    """Where the right class came in, under each pair of towers."""
    tokens = base.class_tokens([texts(tuple(TEMPLATES), name) for name in data.class_names])
    models = (base.encoder, None if edited is None else edited.encoder)
    return answer(models, data, tokens, target=target, batch_size=256, reporter=Silent())


def known_classes(clip: LoadedCLIP, data: EvalData) -> list[tuple[int, str]]:
    """Right of 50 and name of every class with at least 15 right, best first."""
    found = ask(clip, None, data, None)
    right = [int((found.ranks["before"][found.labels == k] == 0).sum()) for k in range(len(data.class_names))]
    return sorted(((n, data.class_names[k]) for k, n in enumerate(right) if n >= 15), reverse=True)


def drawn(known: list[tuple[int, str]]) -> list[str]:
    """Two easiest, two in the middle and two hardest of the classes that nothing was tried on."""
    names = [name for _, name in known if name not in TRIED]
    middle = len(names) // 2
    return [*names[:2], *names[middle - 1 : middle + 1], *names[-2:]]


def bits(right: torch.Tensor) -> str:
    """Right or wrong, an image each, as hexadecimal text."""
    return np.packbits(right.numpy()).tobytes().hex()


def unbits(text: str, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The inverse of :func:`bits`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:n].astype(bool)


def cell(
    clip: LoadedCLIP, names: Sequence[str], row: str, name: str, seed: int, data: list[EvalData]
) -> dict[str, Any]:
    """One method on one class with one seed: who was right before and after, image by image."""
    method, preset = METHODS[row]
    run = efface.forget(clip, name, among=names, method=method, preset=preset, seed=seed)
    record = run.record
    found: dict[str, Any] = {
        "row": row,
        "class": name,
        "seed": seed,
        "reached": record.reached,
        "reason": record.reason,
        "seconds": record.seconds,
        "weights": record.weights.result,
        "right": {},
    }
    for source in data:
        answers = ask(clip, run.clip, source, source.class_of(name))
        for split, rows in answers.splits():
            if split == "all" and answers.target is not None:
                continue
            pairs: list[Pair] = ["before", "both", "image", "text"] if run.clip is not None else ["before"]
            right: dict[str, Any] = {pair: bits(answers.ranks[pair][rows] == 0) for pair in pairs}
            found["right"][f"{Path(source.source).parent.name} {split}"] = right | {"n": int(rows.sum())}
    return found


def read_cells(path: Path) -> list[dict[str, Any]]:
    """The finished cells; a line that was cut off is left out."""
    cells = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            cells.append(json.loads(line))
        except ValueError:
            print(f"a line of {path} was cut off and is left out")
    return cells


def mean_change(cells: list[dict[str, Any]], split: str, pair: Pair, rng: np.random.Generator) -> tuple[float, ...]:
    """Mean before, mean after, mean change and its interval over classes, in percent."""
    classes = sorted({c["class"] for c in cells})
    before, after = [], []  # a class each: images, and seeds x images
    for name in classes:
        found = [c["right"][split] for c in cells if c["class"] == name]
        n = found[0]["n"]
        before.append(unbits(found[0]["before"], n).astype(float))
        after.append(np.stack([unbits(f.get(pair, f["before"]), n).astype(float) for f in found]))
    draws = np.zeros(DRAWS)
    for draw in range(DRAWS):
        for b, a in zip(before, after, strict=True):
            images = rng.integers(0, len(b), len(b))
            seeds = rng.integers(0, len(a), len(a))
            draws[draw] += (a[seeds][:, images].mean() - b[images].mean()) / len(classes)
    low, high = np.quantile(draws, [0.025, 0.975])
    means = np.mean([b.mean() for b in before]), np.mean([a.mean() for a in after])
    return tuple(100 * float(v) for v in (*means, means[1] - means[0], low, high))


def table(cells: list[dict[str, Any]]) -> Iterator[str]:
    """The table, a line at a time."""
    rng = np.random.default_rng(0)
    columns: list[tuple[str, str, Pair]] = [
        ("forgotten class", "tiny-imagenet forget", "both"),
        ("image tower edited alone", "tiny-imagenet forget", "image"),
        ("text tower edited alone", "tiny-imagenet forget", "text"),
        ("other classes", "tiny-imagenet retain", "both"),
        ("CIFAR-10", "cifar10 all", "both"),
    ]
    yield "| method | cells | goal reached | " + " | ".join(name for name, _, _ in columns) + " |"
    yield "|---|--:|--:|" + "--:|" * len(columns)
    for row in METHODS:
        mine = [c for c in cells if c["row"] == row]
        if not mine:
            continue
        parts = [row, str(len(mine)), f"{sum(c['reached'] for c in mine)}"]
        for _, split, pair in columns:
            before, after, change, low, high = mean_change(mine, split, pair, rng)
            parts.append(f"{before:.1f} -> {after:.1f} ({change:+.1f}, {low:+.1f} to {high:+.1f})")
        yield "| " + " | ".join(parts) + " |"


def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/main_job"))
    asked = parser.parse_args()
    natural = Path(os.environ["EFFACE_NATURAL"])
    clip = efface.load(f"local-dir:{natural / 'models' / 'tiny-natural-rn'}")
    names = class_names_from(natural / "data" / "tiny-imagenet" / "classnames.txt")
    sources = [natural / "data" / part for part in ("tiny-imagenet/val.parquet", "cifar10/test.parquet")]
    whole = [open_source(str(path), preprocess=clip.preprocess) for path in sources]
    known = known_classes(clip, whole[0])
    chosen, data = drawn(known), [half(source, odd=True) for source in whole]
    print(f"{len(known)} classes are known; drawn: {', '.join(chosen)}")

    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "cells.jsonl"
    done = {(c["row"], c["class"], c["seed"]) for c in read_cells(path)}
    for name in chosen:
        for row, (method, _) in METHODS.items():
            for seed in range(asked.seeds if method in SEEDED else 1):
                if (row, name, seed) in done:
                    continue
                found = cell(clip, names, row, name, seed, data)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                print(f"{row}, {name}, seed {seed}: {found['seconds']:.0f} s, {found['reason']}", flush=True)
    cells = read_cells(path)
    lines = [
        f"{len(known)} of {len(names)} classes are known (at least 15 of 50 right); drawn: {', '.join(chosen)}.",
        "Accuracy (top 1) in percent on half B: before -> after (change, 95 % interval over images and seeds).",
        f"n a class: 25 images of it, {cells[0]['right']['tiny-imagenet retain']['n']} of the other classes, "
        f"{cells[0]['right']['cifar10 all']['n']} of CIFAR-10; {asked.seeds} seeds where there is chance.",
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}.",
        "",
        *table(cells),
    ]
    (asked.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
