"""Forgets classes by name from the small natural CLIP, by every method, and makes the table of what it did.

    EFFACE_NATURAL=FOLDER python benchmarks/main_job.py [--seeds 2] [--out benchmarks/results/main_job]

Protocol. Figures come from half B of each class's images (odd index within the class); no setting was tried on any
class that is drawn. Classes are drawn among those that the model knows (at least 15 of all 50 validation images
right), less those that settings were tried out on, by their accuracy on half A: two easiest, two in the middle, two
hardest. A class that is hard on half A and known all the same is easier on half B, so the "before" of the hardest two
is flattered.

Every finished cell is a line in cells.jsonl, so a run that was cut off goes on where it was; delete that file after a
change of the code. The six classes are taken as given. For the forgotten classes, whose images are few and their own,
intervals are Newcombe's, put together over classes; the others come from a bootstrap over images (the same for every
class, so drawn once for all) and, where there are several, seeds, of which two understate their spread.
"""

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import Bits, append, ask, bits, efface_version, half, mean_change, read_cells, right_by_class, spread, unbits

import efface
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.prompts import class_names_from
from efface.data.sources import open_source
from efface.data.symbols import PREFIX
from efface.evaluation.base import Pair
from efface.methods import method_preset
from efface.synthesis import preset_synthesizer

TRIED = ("monarch", "pizza", "gorilla", "koala", "espresso", "goldfish", "lion")
"""Classes that settings were tried out on; no figure comes from them."""
METHODS = {"lip paper": ("lip", "paper"), "lip default": ("lip", "default"), "projection": ("projection", "default")}
SEEDED = ("lip",)


def drawn(clip: LoadedCLIP, data: EvalData, each: int = 2) -> tuple[int, list[str]]:
    """How many classes the model knows, and which are taken: ``each`` easy ones, middling ones and hard ones."""
    known = [k for k, n in enumerate(right_by_class(clip, data)) if n >= 15]
    by_half_a = right_by_class(clip, half(data, odd=False))
    free = sorted((k for k in known if data.class_names[k] not in TRIED), key=lambda k: (-by_half_a[k], k))
    easy, middle, hard = spread(free, each)
    return len(known), [data.class_names[k] for k in (*easy, *middle, *hard)]


def key_of(clip: LoadedCLIP, row: str, name: str, seed: int) -> str:
    """What a finished cell is found again by: method, class, seed, all settings, the base's weights and the version."""
    method, preset = METHODS[row]
    settings = [asdict(found) for found in (method_preset(method, preset), preset_synthesizer(preset))]  # type: ignore[call-overload]
    asked = [row, name, seed, settings, digest(clip.stored_state()), efface_version]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def cell(
    clip: LoadedCLIP, names: Sequence[str], row: str, name: str, seed: int, data: list[EvalData]
) -> dict[str, Any]:
    """One method on one class with one seed: who was right before and after, image by image."""
    method, preset = METHODS[row]
    run = efface.forget(clip, name, among=names, method=method, preset=preset, seed=seed)
    found: dict[str, Any] = {
        "key": key_of(clip, row, name, seed),
        "row": row,
        "class": name,
        "seed": seed,
        "reached": run.record.reached,
        "reason": run.record.reason,
        "seconds": run.record.seconds,
        "weights": run.record.weights.result,
        "right": {},
    }
    for source in data:
        ranks = ask(clip, run.clip, source, source.classes_of([name])).ranks
        found["right"][kind_of(source)] = {pair: bits(rank == 0) for pair, rank in ranks.items()}
    return found


def kind_of(data: EvalData) -> str:
    """What answers on a source are kept under: the folder of a file, or a split of the embedded world."""
    return data.source if data.source.startswith(PREFIX) else Path(data.source).parent.name


def shares(cells: list[dict[str, Any]], data: EvalData, pair: Pair, split: str) -> list[tuple[Bits, Bits, Bits]]:
    """For each class: the images of the split, who was right before, and after (a row a seed)."""
    source, labels = kind_of(data), data.images.labels.numpy()
    found = []
    for name in sorted({c["class"] for c in cells}):
        mine = [c["right"][source] for c in cells if c["class"] == name]
        label = data.class_of(name)
        of_class = np.zeros(len(labels), dtype=bool) if label is None else labels == label
        before = unbits(mine[0]["before"], len(labels))
        after = np.stack([unbits(m.get(pair, m["before"]), len(labels)) for m in mine])
        found.append((of_class if split == "forget" else ~of_class, before, after))
    return found


def table(cells: list[dict[str, Any]], data: list[EvalData]) -> Iterator[str]:
    """The table, a line at a time."""
    natural, cifar = data
    columns: list[tuple[str, EvalData, Pair, str]] = [
        ("forgotten class", natural, "both", "forget"),
        ("image tower edited alone", natural, "image", "forget"),
        ("text tower edited alone", natural, "text", "forget"),
        ("other classes", natural, "both", "retain"),
        ("CIFAR-10", cifar, "both", "all"),
    ]
    yield "| method | runs | goal reached | " + " | ".join(name for name, *_ in columns) + " |"
    yield "|---|--:|--:|" + "--:|" * len(columns)
    for row in METHODS:
        mine = [c for c in cells if c["row"] == row]
        if not mine:
            continue
        parts = [row, str(len(mine)), str(sum(c["reached"] for c in mine))]
        for _, source, pair, split in columns:
            found = mean_change(shares(mine, source, pair, split), np.random.default_rng(0))
            parts.append("{:.1f} to {:.1f} ({:+.1f}; {:+.1f} to {:+.1f})".format(*found))
        yield "| " + " | ".join(parts) + " |"


def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/main_job"))
    asked = parser.parse_args()
    natural = Path(os.environ["EFFACE_NATURAL"])
    clip = efface.load(f"local-dir:{natural / 'models' / 'tiny-natural-rn'}")
    names = class_names_from(natural / "data" / "tiny-imagenet" / "classnames.txt")
    sources = [natural / "data" / part for part in ("tiny-imagenet/val.parquet", "cifar10/test.parquet")]
    whole = [open_source(str(path), preprocess=clip.preprocess) for path in sources]
    known, chosen = drawn(clip, whole[0])
    data = [half(source, odd=True) for source in whole]
    print(f"{known} classes are known; drawn: {', '.join(chosen)}", flush=True)

    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "cells.jsonl"
    wanted = [
        (row, name, seed)
        for name in chosen
        for row, (method, _) in METHODS.items()
        for seed in range(asked.seeds if method in SEEDED else 1)
    ]
    keys = {key_of(clip, *one): one for one in wanted}
    done = {c.get("key") for c in read_cells(path)}
    for key, (row, name, seed) in keys.items():
        if key not in done:
            found = cell(clip, names, row, name, seed, data)
            append(path, found)
            print(f"{row}, {name}, seed {seed}: {found['seconds']:.0f} s, {found['reason']}", flush=True)
    cells = [c for c in read_cells(path) if c.get("key") in keys]
    lines = [
        f"{known} of {len(names)} classes are known (at least 15 of 50 right); drawn: {', '.join(chosen)}.",
        "Accuracy (top 1) in percent on half B: before to after (change; 95 % interval over images"
        + (", one seed)." if asked.seeds == 1 else f" and {asked.seeds} seeds)."),
        f"n: {int((data[0].images.labels == 0).sum())} images of each forgotten class, "
        f"{len(data[0].images)} of Tiny-ImageNet in all, {len(data[1].images)} of CIFAR-10.",
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, efface {efface_version}.",
        "",
        *table(cells, data),
    ]
    (asked.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
