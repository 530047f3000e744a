"""Forgets twelve classes by name from three models by every row of a table: lip as it is, without a part, and rivals.

    EFFACE_NATURAL=FOLDER python benchmarks/lip.py

Protocol. Of the classes that a model knows the four easiest, the four in the middle and the four hardest are forgotten,
less those that settings were tried out on. Natural images: known and chosen as in main_job.py, by half A; figures come
from half B. The embedded world: known are classes with 30 % of their images of `symbols:calibration` right, which also
say how hard each is; of those that are as hard, those that ``--gold`` has models without come first. Figures come from
`symbols:test`, and from `symbols:unseen` in the place of CIFAR-10. What a linear probe recovers is measured on the
embedded world for some rows, one seed: fitted to `symbols:retain`, tested on `symbols:test`. The published images are
attempted several at a time (``cells.AT_ONCE``): decided as one after the other, and made in less seconds. Gold is
trained without ten classes at once, so that a probe of it also knows less of some of the other classes than the
reference.

Every finished cell is a line in cells.jsonl, so a run that was cut off goes on where it was. After a change of the code
``--check 3`` makes some cells again and says whether they end on the same weights; if not, delete that file. Cells
come in an order that keeps the table balanced wherever it is stopped, and the table is written after each. Rows that
leave out or change a part run on the first three classes, and are compared with the whole on the same classes and
seeds. Intervals are those of cells.py.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import (
    TEN,
    Bits,
    Cell,
    append,
    ask,
    bits,
    check,
    command_of,
    efface_version,
    gold_models,
    half,
    has,
    in_memory,
    interleaved,
    mean_change,
    read_cells,
    recall,
    right_by_class,
    spread,
    synthesis_of,
)
from main_job import drawn, kind_of, shares

import efface
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.prompts import class_names_from
from efface.data.sources import open_source
from efface.data.symbols import open_symbols
from efface.errors import EffaceError
from efface.evaluation.base import Pair
from efface.evaluation.probe import Asking, probe
from efface.fitting import MemoryLackError
from efface.functional.metrics import lip_score, mean_interval
from efface.methods import method_preset
from efface.methods.base import ForgetMethod
from efface.symbols.catalogue import MEMBERS
from efface.synthesis.base import Synthesizer

MODELS = ("tiny-natural-rn", "symbols-vit", "symbols-rn")
TRIED = ("knight", "leo", "bishop")
"""Classes of the embedded world that settings were tried out on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        method: its name.
        preset: of the method.
        settings: in which it differs from the preset.
        real: whether it works on images of the class that are handed to it; else on what the model makes itself.
        classes: at most so many of the twelve.
    """

    method: str
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    real: bool = False
    classes: int = 12


ABLATION = 3
"""So many classes, an easy, a middling and a hard one, for rows that leave a part out."""
EVERY, FEW = 10**6, 64
ROWS: Mapping[str, Row] = {
    "lip default": Row("lip"),
    "projection": Row("projection"),
    "lip paper": Row("lip", "paper"),
    "lip lipschitz": Row("lip", "lipschitz"),
    "ga": Row("ga"),
    "jit": Row("jit"),
    "lip image tower alone": Row("lip", settings={"text_steps": 0}, classes=ABLATION),
    "lip one attempt": Row("lip", settings={"attempts": 1}, classes=ABLATION),
    "lip two blocks": Row("lip", settings={"blocks": 2}, classes=ABLATION),
    # The fewest leaves that it takes, of which one is held back, and is no reason to try anew.
    "lip next to no guard": Row("lip", settings={"guard_images": 0, "leaves": 8, "attempts": 1}, classes=ABLATION),
    "lip 64 images": Row("lip", settings={"images": FEW}, classes=ABLATION),
    "lip real images": Row("lip", real=True, classes=ABLATION),
    "lipschitz, real images": Row("lip", "lipschitz", real=True, classes=ABLATION),
    "lipschitz, 16 images": Row("lip", "lipschitz", {"images": 16}, classes=ABLATION),
    "lipschitz, image term": Row("lip", "lipschitz", {"terms": "image"}, classes=ABLATION),
    "lipschitz, text term": Row("lip", "lipschitz", {"terms": "text"}, classes=ABLATION),
    # All but BatchNorm in the image tower, all of the blocks in the text tower.
    "lipschitz, all tensors": Row(
        "lip",
        "lipschitz",
        {"image_tensors": (EVERY,) * 7, "text_tensors": (EVERY,) * 7, "convolutions": "free"},
        classes=ABLATION,
    ),
    "lipschitz, fixed steps": Row(
        "lip",
        "lipschitz",
        {"rounds": "fixed", "max_rounds": 10, "learning_rate": 1e-3, "learning_rate_growth": 1.0},
        classes=ABLATION,
    ),
}
GOLD = "gold"
"""Cells that forget nothing: what probes of the reference and of models trained without a class know of it."""
FIRST, OF_PAPER = ("lip default", "projection", GOLD), ("lip paper", "lip lipschitz")
RIVALS, PARTS = ("ga", "jit"), tuple(row for row in ROWS if ROWS[row].classes == ABLATION)
STAGES: tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...] = (
    (FIRST, (0,), 12),
    (OF_PAPER + RIVALS, (0,), ABLATION),
    (PARTS, (0,), ABLATION),
    (FIRST[:2], (1, 2), 12),
    (OF_PAPER + RIVALS, (0,), 12),
    (OF_PAPER + RIVALS + PARTS, (1, 2), 12),
)
"""Rows, seeds and classes in the order in which they are run."""
PROBED = ("lip default", "lip two blocks", "projection")
SHOTS = (4, 16)
COLUMNS: tuple[tuple[str, int, Pair, str], ...] = (
    ("forgotten class", 0, "both", "forget"),
    ("image tower edited alone", 0, "image", "forget"),
    ("text tower edited alone", 0, "text", "forget"),
    ("other classes", 0, "both", "retain"),
    ("", 1, "both", "retain"),
)
PARTS_OF_DATA = ("tiny-imagenet/val.parquet", "cifar10/test.parquet", "tiny-imagenet/train.parquet")


def method_of(row: str) -> tuple[ForgetMethod, Synthesizer]:
    """The method and the synthesis of a row."""
    one = ROWS[row]
    method = method_preset(one.method, one.preset)
    # Made anew, so that its settings are looked at.
    changed = type(method)(**asdict(method) | one.settings)  # type: ignore[call-overload]
    return changed, synthesis_of(one.preset)


@dataclass(frozen=True, slots=True)
class World:
    """A model with what it is judged on.

    Attributes:
        clip: the model.
        weights: its digest.
        names: of all classes.
        known: how many of them the model knows.
        chosen: those to forget: an easy one, one in the middle, a hard one, and so on.
        data: held-out images of these classes, and other ones.
        real: images of the classes that a method may work on.
        gold: models that were trained without some classes, and these.
    """

    clip: LoadedCLIP
    weights: str
    names: tuple[str, ...]
    known: int
    chosen: tuple[str, ...]
    data: tuple[EvalData, EvalData]
    real: EvalData
    gold: tuple[tuple[LoadedCLIP, tuple[str, ...]], ...] = ()


def natural() -> World:
    """The small natural model."""
    folder = Path(os.environ["EFFACE_NATURAL"])
    clip = efface.load(f"local-dir:{folder / 'models' / 'tiny-natural-rn'}")
    names = class_names_from(folder / "data" / "tiny-imagenet" / "classnames.txt")
    sources = [folder / "data" / part for part in PARTS_OF_DATA]
    whole, cifar, real = (open_source(str(path), preprocess=clip.preprocess) for path in sources)
    known, chosen = drawn(clip, whole, each=4)
    data = in_memory(half(whole, odd=True)), in_memory(half(cifar, odd=True))
    return World(clip, digest(clip.stored_state()), tuple(names), known, interleaved(chosen, 4), data, real)


def symbols(name: str, pattern: str | None) -> World:
    """A model of the embedded world."""
    clip = efface.load(f"builtin:{name}")

    def split(which: str) -> EvalData:
        return open_symbols(f"symbols:{which}", preprocess=clip.preprocess)

    folders = "" if pattern is None else pattern.replace("{tower}", name.removeprefix("symbols-"))
    gold = tuple((model, without["classes"]) for model, without in gold_models(folders)) if folders else ()
    lacking = {lost for _, lacks in gold for lost in lacks}
    calibration = split("calibration")
    right, total = right_by_class(clip, calibration), torch.bincount(calibration.images.labels).tolist()
    known = [k for k in range(len(MEMBERS)) if right[k] >= 0.3 * total[k]]
    free = [k for k in known if MEMBERS[k] not in TRIED]
    free.sort(key=lambda k: (-right[k] / total[k], MEMBERS[k] not in lacking, k))
    chosen = [MEMBERS[k] for k in chain.from_iterable(spread(free, 4))]
    data = in_memory(split("test")), in_memory(split("unseen"))
    return World(
        clip, digest(clip.stored_state()), MEMBERS, len(known), interleaved(chosen, 4), data, split("forget"), gold
    )


def key_of(world: World, row: str, name: str, seed: int) -> str:
    """What a finished cell is found again by: row, class, seed, all settings, all weights and the version."""
    settings = [] if row == GOLD else [asdict(part) for part in method_of(row)]  # type: ignore[call-overload]
    others = [digest(gold.stored_state()) for gold, _ in world.gold] if row == GOLD else []
    images = world.real.sha256 if row != GOLD and ROWS[row].real else None
    probes = [row in PROBED, SHOTS] if world.names == MEMBERS and seed == 0 else None
    data = [source.sha256 for source in world.data]
    asked = [row, name, seed, settings, images, probes, data, world.weights, others, efface_version]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def probed(world: World, models: Mapping[str, LoadedCLIP], name: str) -> list[Cell]:
    """What linear probes of some models know of a class and of a control."""
    train, test = (open_symbols(f"symbols:{part}", preprocess=world.clip.preprocess) for part in ("retain", "test"))
    return [asdict(found) for found in probe(models, name, train=train, test=test, asking=Asking(shots=SHOTS))]


def cell(world: World, row: str, name: str, seed: int) -> Cell:
    """One row on one class with one seed: who was right before and after, image by image."""
    if row == GOLD:
        models = {"reference": world.clip}
        models |= {f"gold {k}": gold for k, (gold, lacks) in enumerate(world.gold) if name in lacks}
        return {"probe": probed(world, models, name), "lacks": [list(lacks) for _, lacks in world.gold]}
    method, synthesizer = method_of(row)
    images = world.real.source if ROWS[row].real else None
    try:
        run = efface.forget(
            world.clip, name, among=world.names, method=method, synthesizer=synthesizer, images=images, seed=seed
        )
    except MemoryLackError:
        raise  # it says nothing of the method, and another time there may be enough
    except EffaceError as error:
        return {"failed": str(error)}
    found: Cell = {"reached": run.record.reached, "reason": run.record.reason, "seconds": run.record.seconds}
    if run.clip is None:
        return found | {"failed": run.record.reason}
    found |= {"stages": dict(run.record.timing), "weights": run.record.weights.result, "right": {}}
    for source in world.data:
        ranks = ask(world.clip, run.clip, source, source.classes_of([name])).ranks
        found["right"][kind_of(source)] = {pair: bits(rank == 0) for pair, rank in ranks.items()}
    if row in PROBED and seed == 0 and world.names == MEMBERS:
        models = {"reference": world.clip, "edited": run.clip}
        found["probe"] = [one for one in probed(world, models, name) if one["model"] == "edited" or row == PROBED[0]]
    return found


def wanted(worlds: Mapping[str, World], rows: Sequence[str], seeds: int, classes: int) -> dict[str, tuple[Any, ...]]:
    """The cells by their key, in the order in which they are to be run."""
    found: dict[str, tuple[Any, ...]] = {}
    for of_stage, of_seeds, most in STAGES:
        for seed in (s for s in of_seeds if s < seeds):
            for number in range(min(classes, most)):
                for model, world in worlds.items():
                    name = world.chosen[number]
                    has_gold = any(name in lacks for _, lacks in world.gold)
                    for row in of_stage:
                        is_asked = row in rows and number < ROWS[row].classes
                        if is_asked or (row == GOLD and has_gold):
                            found[key_of(world, row, name, seed)] = (model, row, name, seed)
    return found


def score(world: World, one: Cell) -> float:
    """The score that LIP is published with, on one cell."""
    forget, retain, other = (
        mean_accuracy(shares([one], world.data[source], pair, split))
        for _, source, pair, split in (COLUMNS[0], *COLUMNS[3:])
    )
    return lip_score(forget, retain, [other])


def mean_accuracy(found: list[tuple[Bits, Bits, Bits]]) -> tuple[float, float]:
    """Accuracy before and after on the images of one cell."""
    ((rows, before, after),) = found
    return float(before[rows].mean()), float(after[:, rows].mean())


def worst_fall(world: World, one: Cell) -> float:
    """The change of the other class that lost most, in points: means hide it where one of many goes as well."""
    data, name = world.data[0], one["class"]
    ((_, before, after),) = shares([one], data, "both", "retain")
    labels, label = data.images.labels.numpy(), data.class_of(name)
    n, rights = (np.bincount(labels, weights, len(data.class_names)) for weights in (None, after[0] * 1.0 - before))
    change = 100 * rights / np.maximum(n, 1)
    return float(np.delete(change, [] if label is None else [label]).min())


def by_class_first(cells: Sequence[Cell], figures: Sequence[float]) -> float:
    """The mean over classes of the means over their seeds, which may be more of one class than of another."""
    names = [c["class"] for c in cells]
    of_class = [[x for x, mine in zip(figures, names, strict=True) if mine == name] for name in sorted(set(names))]
    return float(np.mean([np.mean(some) for some in of_class]))


def groups_of(cells: Sequence[Cell], *, parts: bool) -> Iterator[tuple[str, list[Cell]]]:
    """The cells row by row: of whole methods, or of each without a part, after the whole on its classes and seeds."""
    for row, one in ROWS.items():
        mine = [c for c in cells if c["row"] == row]
        if parts and one.classes == ABLATION and mine:
            of = "lip default" if one.preset == "default" else "lip lipschitz"
            same = {(c["class"], c["seed"]) for c in mine}
            yield f"*{of}, the same*", [c for c in cells if c["row"] == of and (c["class"], c["seed"]) in same]
        if parts == (one.classes == ABLATION):
            yield row, mine


def table(world: World, cells: Sequence[Cell], *, parts: bool) -> Iterator[str]:
    """What the rows did to one model, a line at a time.

    Args:
        world: of the model.
        cells: of the model.
        parts: whether of methods without a part, or with another; else of whole methods.
    """
    last = "CIFAR-10" if world.names != MEMBERS else "unseen combinations, other classes"
    heads = [name or last for name, *_ in COLUMNS]
    heads += ["worst other class, mean (most)", "score M", "seconds, median (most)"]
    yield "| row | classes | runs | goal reached | " + " | ".join(heads) + " |"
    yield "|---|--:|--:|--:|" + "--:|" * len(heads)
    for row, tried in groups_of(cells, parts=parts):
        mine = [c for c in tried if "failed" not in c]
        failed = f", {len(tried) - len(mine)} failed" if len(mine) < len(tried) else ""
        if not mine:
            if tried:
                yield f"| {row} | 0 | 0{failed} |" + " |" * (len(heads) + 1)
            continue
        columns = [
            row,
            str(len({c["class"] for c in mine})),
            f"{len(mine)}{failed}",
            str(sum(c["reached"] for c in mine)),
        ]
        for _, source, pair, split in COLUMNS:
            found = mean_change(shares(mine, world.data[source], pair, split), np.random.default_rng(0))
            columns.append("{:.1f} to {:.1f} ({:+.1f}; {:+.1f} to {:+.1f})".format(*found))
        falls = [worst_fall(world, one) for one in mine]
        columns.append(f"{by_class_first(mine, falls):.1f} ({min(falls):.1f})")
        columns.append(f"{by_class_first(mine, [score(world, one) for one in mine]):.3f}")
        seconds = [c["seconds"] for c in mine]
        columns.append(f"{np.median(seconds):.1f} ({max(seconds):.1f})")
        yield "| " + " | ".join(columns) + " |"


def by_class(world: World, cells: Sequence[Cell]) -> Iterator[str]:
    """What the default did to each class, a line at a time."""
    yield "| class, `lip default` | runs | before | after | image tower edited alone | other classes, change |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in world.chosen:
        mine = [c for c in cells if c["row"] == "lip default" and c["class"] == name and "failed" not in c]
        if mine:
            figures = [
                np.mean([mean_accuracy(shares([c], world.data[0], pair, split)) for c in mine], axis=0)
                for _, _, pair, split in (COLUMNS[0], COLUMNS[1], COLUMNS[3])
            ]
            (before, after), (_, image), (first, then) = figures
            yield (
                f"| {name} | {len(mine)} | {100 * before:.1f} | {100 * after:.1f} | {100 * image:.1f} "
                f"| {100 * (then - first):+.2f} |"
            )


def probe_table(cells: Sequence[Cell]) -> Iterator[str]:
    """What probes recover of the forgotten class and of the control, a line at a time."""
    golden = {c["class"] for c in cells if c["row"] == GOLD}
    layers = [(layer, k) for layer in ("penultimate", "final") for k in SHOTS]
    yield "| model | classes | role | " + " | ".join(f"{layer}, {k}" for layer, k in layers) + " |"
    yield "|---|--:|---|" + "--:|" * len(layers)
    every = {c["class"] for c in cells}
    groups = [("reference", PROBED[0], "reference", every)]
    groups += [(f"edited by {row}", row, "edited", every) for row in PROBED]
    groups += [(f"edited by {row}, where there is gold", row, "edited", golden) for row in PROBED]
    groups += [("reference, where there is gold", GOLD, "reference", golden), ("gold", GOLD, "gold", golden)]
    for called, row, model, classes in groups:
        mine = [c for c in cells if c["row"] == row and c.get("probe") and c["class"] in classes]
        for role in ("forget", "control"):
            parts = []
            for layer, k in layers:
                recalls = [recall(c["probe"], model, role, layer, k) for c in mine if has(c["probe"], model)]
                if recalls:
                    rights, ns = zip(*recalls, strict=True)
                    found = [100 * v for v in mean_interval(list(rights), list(ns))]
                    parts.append("{:.1f} ({:.1f} to {:.1f})".format(*found))
            if parts:
                yield f"| {called} | {len({c['class'] for c in mine})} | {role} | " + " | ".join(parts) + " |"


def write_table(path: Path, worlds: Mapping[str, World], cells: Sequence[Cell], command: str) -> None:
    """All tables, with what made them."""
    lines = [
        "# Twelve classes forgotten by name",
        "",
        f"`{command}`",
        "",
        "Accuracy (top 1) in percent: before to after (change; 95 % interval over images and seeds, see",
        "`benchmarks/lip.py`). Worst other class: the change of the one that lost most, in points. Score M as",
        "published, with one other data set; lower is better.",
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"efface {efface_version}; a machine that did other work beside, so seconds are upper bounds.",
    ]
    for model, world in worlds.items():
        mine = [c for c in cells if c["model"] == model]
        n = int((world.data[0].images.labels == 0).sum())
        lines += [
            "",
            f"## {model}",
            "",
            f"{world.known} of {len(world.names)} classes are known; drawn, easy, middling and hard in turn: "
            f"{', '.join(world.chosen)}.",
            f"n: {n} images of each forgotten class, {len(world.data[0].images)} of all classes, "
            f"{len(world.data[1].images)} of {kind_of(world.data[1])}.",
            "",
            *table(world, mine, parts=False),
            "",
            *by_class(world, mine),
        ]
        if any(ROWS[c["row"]].classes == ABLATION for c in mine if c["row"] in ROWS):
            lines += ["", "Without a part, or with another:", "", *table(world, mine, parts=True)]
        if any(c.get("probe") for c in mine):
            lacks = world.gold[0][1] if world.gold else ()
            lines += [
                "",
                "Recall by a linear probe in percent (mean over classes, 95 % interval), one seed; chance is 4.8."
                + (f" Gold: {len(world.gold)} models trained without {', '.join(lacks)}." if lacks else ""),
                "",
                *probe_table(mine),
            ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def arguments() -> tuple[argparse.Namespace, str]:
    """What is asked, and the command that asks it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--classes", type=int, default=12, help="of twelve, an easy, a middling and a hard one in turn")
    parser.add_argument("--gold", default=TEN, help="models trained without classes; {tower} stands for rn or vit")
    parser.add_argument("--check", type=int, default=0, help="make so many finished cells again, and compare weights")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/lip"))
    asked = parser.parse_args()
    return asked, "EFFACE_NATURAL=FOLDER " + command_of("lip.py", parser, asked, ("models", "rows", "seeds", "classes"))


def said(job: tuple[str, str, str, int]) -> str:
    """A cell in words."""
    model, row, name, seed = job
    return f"{model}, {row}, {name}, seed {seed}"


def main() -> None:
    """Runs what is missing, and writes the table after each cell."""
    asked, command = arguments()
    worlds = {name: natural() if name == "tiny-natural-rn" else symbols(name, asked.gold) for name in asked.models}
    for model, world in worlds.items():
        print(f"{model}: {world.known} classes are known; drawn: {', '.join(world.chosen)}", flush=True)
    keys = wanted(worlds, asked.rows, asked.seeds, asked.classes)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "cells.jsonl"
    cells = [c for c in read_cells(path) if c.get("key") in keys]

    def make(key: str) -> tuple[str, Cell]:
        model, row, name, seed = keys[key]
        return said(keys[key]), cell(worlds[model], row, name, seed)

    if asked.check:
        sys.exit(check([*keys], cells, asked.check, make))
    done = {c["key"] for c in cells}
    for key, (model, row, name, seed) in keys.items():
        if key in done or asked.table:
            continue
        head = {"key": key, "model": model, "row": row, "class": name, "seed": seed}
        found = head | cell(worlds[model], row, name, seed)
        append(path, found)
        cells.append(found)
        told = found.get("failed") or f"{found.get('seconds', 0):.0f} s, {found.get('reason', '')}"
        print(f"{said(keys[key])}: {told}", flush=True)
        write_table(asked.out / "table.md", worlds, cells, command)
    write_table(asked.out / "table.md", worlds, cells, command)


if __name__ == "__main__":
    main()
