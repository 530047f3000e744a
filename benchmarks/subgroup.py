"""Forgets subgroups of four families from three models by every row of a table: subgroup as it is, its parts, rivals.

    EFFACE_NATURAL=FOLDER python benchmarks/subgroup.py [--gold "FOLDER/symbols-{tower}-without-*"]

Families. *Design of a class*: one of the three drawings of a class of the embedded world, its others are siblings.
*Style across classes*: one drawing of all classes of a group, each of which loses its own. *Sibling class*: a class of
Tiny-ImageNet, those of its group in hypernyms.tsv are siblings. *CIFAR-10 class*: among the ten; siblings are the other
animals, or the other vehicles. Six of each are drawn (families.py).

Protocol. Forget, retain and calibration images come from the splits of the embedded world that are called so, and from
half A of the photographs; figures from `symbols:test` and `symbols:unseen`, and from half B. *Elsewhere* is
`symbols:unseen` without what was to be forgotten, CIFAR-10 for Tiny-ImageNet and Tiny-ImageNet for CIFAR-10. Linear
probes are fitted to `symbols:retain` or half A, of the forgotten class to images of the subgroup alone; of a style to
its first class. One seed. Gold, where ``--gold`` has a model that was trained without the subgroup, answers the same
images; the divergence from it is that of Jensen and Shannon between what it and a model say of held-out images of the
subgroup (softmax over all classes, each with its own scale; in bits, 0 to 1).

Every finished cell is a line in cells.jsonl, so a run that was cut off goes on where it was. After a change of the code
``--check 3`` makes some cells again and says whether they end on the same weights; if not, delete that file. Cells
come in an order that keeps the table balanced wherever it is stopped, and the table is written after each. Rows that
leave out or add a part run on the first three subgroups of the embedded world, and are compared with the whole on the
same subgroups and seeds. Intervals are those of cells.py: over images, and seeds where there are several.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from cells import (
    DRAWS,
    Bits,
    Cell,
    append,
    ask,
    bits,
    check,
    command_of,
    efface_version,
    has,
    mean_change,
    read_cells,
    recall,
    unbits,
)
from families import FAMILIES, OF_SYMBOLS, SYMBOLS, Target, World, of_photographs, of_symbols
from jaxtyping import Float
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import EffaceError
from efface.evaluation.base import Pair
from efface.evaluation.probe import Asking, probe
from efface.fitting import MemoryLackError
from efface.functional.metrics import h_mean, mean_interval, subgroup_score, untouched_score
from efface.functional.similarity import zero_shot_logits
from efface.methods import method_preset
from efface.methods.base import ForgetMethod
from efface.request import TEMPLATES
from efface.settings import with_settings
from efface.synthesis import preset_synthesizer
from efface.types import TensorImages

ABLATION = 3
"""So many subgroups, an easy, a middling and a hard one, for rows that leave a part out or add one."""
SUBGROUPS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        method: its name.
        preset: of the method.
        settings: in which it differs from the preset.
        of: the row that it is without a part, or with another; empty for a whole method.
    """

    method: str
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    of: str = ""


DEFAULT, PAPER = "subgroup default", "subgroup paper"
REFERENCE, GOLD = "reference", "gold"
"""Cells that forget nothing: what the reference, and models trained without the subgroup, answer."""
BARE = {"remind.align_steps": 0, "remind.features": 0.0, "remind.rows": 0.0, "remind.average": "none"}
"""Reminding by the contrastive loss alone."""
REMINDED = ("forget", "remind", "restore")


def reminded(*parts: str) -> dict[str, Any]:
    """The default with the second stage, of whose published parts it has these alone."""
    return {"stages": REMINDED} | {name: value for name, value in BARE.items() if name not in parts}


ROWS: Mapping[str, Row] = {
    "ga": Row("ga"),
    "lip, real images": Row("lip"),
    PAPER: Row("subgroup", "paper"),
    DEFAULT: Row("subgroup"),
    "paper without Fisher choice": Row("subgroup", "paper", {"forget.share": 1.0}, PAPER),
    "paper without LoRA": Row("subgroup", "paper", {"forget.rank": 0, "remind.rank": 0}, PAPER),
    "paper without alignment": Row("subgroup", "paper", {"remind.align_steps": 0}, PAPER),
    "paper without distillation": Row("subgroup", "paper", {"remind.features": 0.0, "remind.rows": 0.0}, PAPER),
    "paper without average": Row("subgroup", "paper", {"remind.average": "none"}, PAPER),
    "paper without soup": Row("subgroup", "paper", {"stages": ("forget", "remind")}, PAPER),
    "default with Fisher choice": Row("subgroup", settings={"forget.blocks": 0, "forget.share": 0.25}, of=DEFAULT),
    # At the default's rate a change of low rank lags behind.
    "default with LoRA": Row("subgroup", settings={"forget.rank": 8, "forget.learning_rate": 3e-3}, of=DEFAULT),
    "default, reminded by contrast alone": Row("subgroup", settings=reminded(), of=DEFAULT),
    "default, reminded with alignment": Row("subgroup", settings=reminded("remind.align_steps"), of=DEFAULT),
    "default, reminded with distillation": Row(
        "subgroup", settings=reminded("remind.features", "remind.rows"), of=DEFAULT
    ),
    "default, reminded with average": Row("subgroup", settings=reminded("remind.average"), of=DEFAULT),
    "default, reminded with all three": Row("subgroup", settings=reminded(*BARE), of=DEFAULT),
    "default without soup": Row("subgroup", settings={"stages": ("forget",)}, of=DEFAULT),
}
WHOLE = tuple(row for row in ROWS if not ROWS[row].of)
PARTS = tuple(row for row in ROWS if ROWS[row].of)
STAGES: tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...] = (
    ((REFERENCE, GOLD, *WHOLE), (0,), SUBGROUPS),
    (PARTS, (0,), ABLATION),
    ((GOLD, *WHOLE), (1, 2), SUBGROUPS),
    (PARTS, (1, 2), ABLATION),
)
"""Rows, seeds and subgroups in the order in which they are run. A seed of gold is another model."""
SHOTS = (4, 16)
Split = Literal["target", "siblings", "rest", "elsewhere"]
COLUMNS: tuple[tuple[str, Split, Pair], ...] = (
    ("target", "target", "both"),
    ("siblings", "siblings", "both"),
    ("the rest", "rest", "both"),
    ("elsewhere", "elsewhere", "both"),
    ("target, image tower edited alone", "target", "image"),
    ("target, text tower edited alone", "target", "text"),
)
KEPT: tuple[Split, ...] = ("siblings", "rest", "elsewhere")
Job = tuple[World, str, Target, int]
Lines = dict[tuple[str, ...], list[str]]
"""Lines of tables that were made already, a text a column, by what they are called and the keys of their cells."""


def method_of(row: str) -> ForgetMethod:
    """The method of a row."""
    one = ROWS[row]
    return with_settings(method_preset(one.method, one.preset), one.settings)


def key_of(job: Job) -> str:
    """What a finished cell is found again by: row, subgroup, seed, all settings, weights, images and the version."""
    world, row, target, seed = job
    parts = (method_of(row), preset_synthesizer(ROWS[row].preset)) if row in ROWS else ()
    settings = [asdict(part) for part in parts]  # type: ignore[call-overload]
    sources = (target.images, target.retain, target.calibration) if row in ROWS else ()
    given = [source.sha256 for source in sources if source is not None]
    held = [source.sha256 for source in world.data]
    weights = [world.weights, *target.gold_weights]
    about = [world.family, row, target.label, seed, is_probed(row, seed), target.names, dict(target.where)]
    about.append(sorted((world.hierarchy or {}).items()))
    return hashlib.sha256(json.dumps([*about, settings, given, held, weights, efface_version]).encode()).hexdigest()[
        :16
    ]


def is_probed(row: str, seed: int) -> list[int]:
    """The images a class that linear probes are fitted to; none where there are no probes."""
    return list(SHOTS) if seed == 0 and row not in PARTS else []


def cell(job: Job) -> Cell:
    """One row on one subgroup with one seed: who was right before and after, image by image."""
    world, row, target, seed = job
    if row in (REFERENCE, GOLD):
        return judged(job, world.clip if row == REFERENCE else target.gold[seed])
    try:
        run = forgotten(job)
    except MemoryLackError:
        raise  # it says nothing of the method, and another time there may be enough
    except EffaceError as error:
        return {"failed": str(error)}
    found: Cell = {"reached": run.record.reached, "reason": run.record.reason, "seconds": run.record.seconds}
    if run.clip is None:
        return found | {"failed": run.record.reason}
    found |= {"stages": dict(run.record.timing), "weights": run.record.weights.result}
    return found | judged(job, run.clip)


def forgotten(job: Job) -> efface.Run:
    """The run of a method on a subgroup."""
    world, row, target, seed = job
    method = method_of(row)
    return efface.forget(
        world.clip,
        target.names,
        among=world.names,
        images=target.images,
        where=target.where,
        retain=target.retain if method.needs.retain_images else None,
        calibration=target.calibration if method.needs.calibration_images else None,
        hierarchy=world.hierarchy,
        method=method,
        preset=ROWS[row].preset,
        seed=seed,
    )


def judged(job: Job, clip: LoadedCLIP) -> Cell:
    """What held-out images and probes say of the reference, of gold, or of an edited model."""
    world, row, target, seed = job
    right = []
    for source in world.data:
        # Gold is another model: its towers go with no other's.
        alone = ask(world.clip, None if row in (REFERENCE, GOLD) else clip, source, ()).ranks
        if row == GOLD:
            alone = {**alone, "both": ask(clip, None, source, ()).ranks["before"]}
        right.append({pair: bits(rank == 0) for pair, rank in alone.items()})
    found: Cell = {"right": right}
    others = [one for one in target.gold if one is not clip]
    if others:
        found["distance"] = [round(value, 6) for value in distance(world, target, clip, others).tolist()]
    shots = is_probed(row, seed)
    if shots:
        models = {"reference": world.clip} | ({row: clip} if clip is not world.clip else {})
        train, test = target.probes
        asked = probe(models, target.names[0], train=train, test=test, asking=Asking(shots=tuple(shots)))
        found["probe"] = [asdict(one) for one in asked if one.model == row]
    return found


def distance(world: World, target: Target, clip: LoadedCLIP, gold: Sequence[LoadedCLIP]) -> Float[Tensor, " images"]:
    """How far what a model says of each held-out image of the subgroup is from what gold says, a mean over models."""
    said = probabilities(world, target, clip)
    return torch.stack([divergence(said, probabilities(world, target, one)) for one in gold]).mean(dim=0)


@torch.no_grad()
def probabilities(world: World, target: Target, clip: LoadedCLIP) -> Float[Tensor, "images classes"]:
    """What a model holds held-out images of the subgroup to be."""
    held = world.data[0].images
    if not isinstance(held, TensorImages):
        raise TypeError(f"expected images in memory, got {type(held).__name__}")
    classes = encode_classes(clip.encoder, clip.class_tokens([texts(TEMPLATES, name) for name in world.names]))
    features = clip.encoder.encode_image(held.images[torch.from_numpy(target.forget)])
    return zero_shot_logits(features, classes, clip.encoder.logit_scale).double().softmax(dim=1)


def divergence(
    first: Float[Tensor, "images classes"], second: Float[Tensor, "images classes"]
) -> Float[Tensor, " images"]:
    """The Jensen-Shannon divergence of two distributions an image, in bits: 0 where they are equal, 1 at most."""
    middle = (first + second) / 2
    parts = [torch.xlogy(one, one) - torch.xlogy(one, middle) for one in (first, second)]
    total: Tensor = (parts[0] + parts[1]).sum(dim=1)
    return total / (2 * math.log(2))


def wanted(worlds: Sequence[World], rows: Sequence[str], seeds: int, subgroups: int) -> dict[str, Job]:
    """The cells by their key, in the order in which they are to be run."""
    found: dict[str, Job] = {}
    for of_stage, of_seeds, most in STAGES:
        for seed in (s for s in of_seeds if s < seeds):
            for number in range(min(subgroups, most)):
                for world in worlds:
                    for row in of_stage:
                        if number < len(world.targets) and runs(world, row, world.targets[number], seed, rows):
                            job = world, row, world.targets[number], seed
                            found[key_of(job)] = job
    return found


def runs(world: World, row: str, target: Target, seed: int, rows: Sequence[str]) -> bool:
    """Whether there is such a cell."""
    if row == GOLD:
        return seed < len(target.gold)
    return row == REFERENCE or (row in rows and (row not in PARTS or world.family in OF_SYMBOLS))


def shares(world: World, cells: Sequence[Cell], split: Split, pair: Pair) -> list[tuple[Bits, Bits, Bits]]:
    """For each subgroup: the images of the split, who was right before, and after (a row a seed)."""
    source = int(split == "elsewhere")
    n = len(world.data[source].images)
    found = []
    for target in world.targets:
        mine = [c["right"][source] for c in cells if c["subgroup"] == target.label]
        if mine:
            rows = {
                "target": target.forget,
                "siblings": target.siblings,
                "rest": ~target.forget & ~target.siblings,
                "elsewhere": target.elsewhere,
            }[split]
            after = np.stack([unbits(m.get(pair, m["before"]), n) for m in mine])
            found.append((rows, unbits(mine[0]["before"], n), after))
    return found


def accuracies(world: World, one: Cell) -> dict[Split, tuple[float, float]]:
    """Accuracy before and after on one cell, of each split that both towers are asked about."""
    found: dict[Split, tuple[float, float]] = {}
    for _, split, pair in COLUMNS:
        if pair == "both":
            ((rows, before, after),) = shares(world, [one], split, pair)
            found[split] = float(before[rows].mean()), float(after[:, rows].mean())
    return found


def in_one_number(world: World, cells: Sequence[Cell]) -> list[str]:
    """The published Score beside what an untouched model scores, and the H-mean, in percent and means over cells."""
    scores, untouched, harmonic = [], [], []
    for one in cells:
        found = accuracies(world, one)
        kept = [found[split] for split in KEPT if found[split][0]]
        scores.append(subgroup_score(found["target"], kept))
        untouched.append(untouched_score(len(kept)))
        harmonic.append(h_mean(found["target"][1], found["rest"][1]))
    return [f"{100 * np.mean(scores):.1f} ({100 * np.mean(untouched):.1f})", f"{100 * np.mean(harmonic):.1f}"]


def to_gold(cells: Sequence[Cell]) -> str:
    """The mean distance to gold, with its interval over images and seeds."""
    measured = sorted((c for c in cells if "distance" in c), key=lambda c: str(c["subgroup"]))
    if not measured:
        return "-"
    rng, draws, means = np.random.default_rng(0), np.zeros(DRAWS), []
    of_subgroups = [[c["distance"] for c in of] for _, of in groupby(measured, key=lambda c: c["subgroup"])]
    for values in map(np.array, of_subgroups):
        seeds, n = values.shape
        counts = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)
        chosen = rng.integers(0, seeds, (DRAWS, seeds))
        draws += np.take_along_axis(counts @ values.T / n, chosen, axis=1).mean(axis=1) / len(of_subgroups)
        means.append(values.mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{np.mean(means):.3f} ({low:.3f} to {high:.3f})"


def line(world: World, called: str, tried: Sequence[Cell], known: Lines) -> list[str]:
    """A line of a table, a text a column; intervals take a second, so that what is known is not made again."""
    key = called, *(str(c["key"]) for c in tried)
    if key not in known:
        known[key] = columns(world, called, tried)
    return known[key]


def written(parts: Sequence[str]) -> str:
    """A line as Markdown has it."""
    return f"| {' | '.join(parts)} |"


def columns(world: World, called: str, tried: Sequence[Cell]) -> list[str]:
    """What the cells of a row come to, a column each."""
    mine = [c for c in tried if "failed" not in c]
    failed = f", {len(tried) - len(mine)} failed" if len(mine) < len(tried) else ""
    parts = [called, str(len({c["subgroup"] for c in mine})), f"{len(mine)}{failed}"]
    if not mine:
        return [*parts, *[""] * (len(COLUMNS) + 5)]
    row = mine[0]["row"]
    parts.append("-" if row in (REFERENCE, GOLD) else str(sum(c["reached"] for c in mine)))
    for _, split, pair in COLUMNS:
        found = mean_change(shares(world, mine, split, pair), np.random.default_rng(0))
        if row == REFERENCE:
            parts.append(f"{found[0]:.1f}" if pair == "both" else "-")
        elif row == GOLD and pair != "both":
            parts.append("-")
        else:
            parts.append("{:.1f} to {:.1f} ({:+.1f}; {:+.1f} to {:+.1f})".format(*found))
    seconds = [c["seconds"] for c in mine if "seconds" in c]
    took = f"{np.median(seconds):.1f} ({max(seconds):.1f})" if seconds else "-"
    return [*parts, *in_one_number(world, mine), to_gold(mine), took]


def table(world: World, cells: Sequence[Cell], rows: Sequence[str], known: Lines) -> Iterator[str]:
    """What some rows did to one world, a line at a time; what is a change of a row after that on the same cells."""
    heads = ["row", "subgroups", "runs", "goal reached", *(name for name, *_ in COLUMNS)]
    yield written([*heads, "Score (untouched)", "H-mean", "divergence from gold", "seconds, median (most)"])
    yield "|---|" + "--:|" * (len(heads) + 3)
    last: list[str] = []
    for row in rows:
        tried = [c for c in cells if c["row"] == row]
        of = ROWS[row].of if row in ROWS else ""
        same = {(c["subgroup"], c["seed"]) for c in tried if "failed" not in c}
        whole = [c for c in cells if c["row"] == of and (c["subgroup"], c["seed"]) in same]
        compared = line(world, f"*{of}, the same*", whole, known) if whole else []
        if compared and compared != last:
            yield written(compared)
            last = compared
        if tried:
            yield written(line(world, row, tried, known))


def by_subgroup(world: World, cells: Sequence[Cell], known: Lines) -> Iterator[str]:
    """What the default did to each subgroup, a line at a time."""
    heads = [f"subgroup, `{DEFAULT}`", "runs", "goal reached", *(name for name, *_ in COLUMNS)]
    yield written([*heads, "Score (untouched)", "H-mean"])
    yield "|---|" + "--:|" * (len(heads) + 1)
    for target in world.targets:
        mine = [c for c in cells if c["row"] == DEFAULT and c["subgroup"] == target.label]
        if mine:
            called, _, *parts = line(world, target.label, mine, known)[:-2]
            yield written([called, *parts])


def probe_table(cells: Sequence[Cell]) -> Iterator[str]:
    """What probes know of the subgroup and of the control, a line at a time."""
    layers = [(layer, k) for layer in ("penultimate", "final") for k in SHOTS]
    yield "| row | subgroups | role | " + " | ".join(f"{layer}, {k}" for layer, k in layers) + " |"
    yield "|---|--:|---|" + "--:|" * len(layers)
    for row in (REFERENCE, GOLD, *WHOLE):
        mine = [c for c in cells if c["row"] == row and has(c.get("probe", ()), row)]
        for role in ("forget", "control") if mine else ():
            parts = []
            for layer, k in layers:
                rights, ns = zip(*(recall(c["probe"], row, role, layer, k) for c in mine), strict=True)
                low_and_high = [100 * v for v in mean_interval(list(rights), list(ns))]
                parts.append("{:.1f} ({:.1f} to {:.1f})".format(*low_and_high))
            yield f"| {row} | {len(mine)} | {role} | " + " | ".join(parts) + " |"


def counted(world: World) -> str:
    """How many held-out images there are of everything."""
    of = [
        np.array([int(getattr(t, part).sum()) for t in world.targets]) for part in ("forget", "siblings", "elsewhere")
    ]
    spans = [str(n.min()) if n.min() == n.max() else f"{n.min()} to {n.max()}" for n in of]
    total = len(world.data[0].images)
    return f"n: {spans[0]} images of a subgroup, {spans[1]} of its siblings, {total} of all; {spans[2]} elsewhere."


def write_table(path: Path, worlds: Sequence[World], cells: Sequence[Cell], command: str, known: Lines) -> None:
    """All tables, with what made them."""
    lines = [
        "# Subgroups forgotten by images of them",
        "",
        f"`{command}`",
        "",
        "Accuracy (top 1) in percent: before to after (change; 95 % interval over images and seeds, see",
        "`benchmarks/subgroup.py`). Score as published, in percent, with the accuracies on siblings, the rest and "
        "elsewhere; beside it what an untouched model scores.",
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"efface {efface_version}.",
    ]
    for world in worlds:
        mine = [c for c in cells if (c["family"], c["model"]) == (world.family, world.model)]
        lines += [
            "",
            f"## {world.family}, {world.model}",
            "",
            f"The model knows {world.drawn} (30 % right); taken, easy, middling and hard in turn: "
            f"{'; '.join(target.label for target in world.targets)}.",
            counted(world),
            "",
            *table(world, mine, (REFERENCE, GOLD, *WHOLE), known),
        ]
        if any(c["row"] == DEFAULT for c in mine):
            lines += ["", *by_subgroup(world, mine, known)]
        if any(c["row"] in PARTS for c in mine):
            lines += ["", "Without a part, or with another:", "", *table(world, mine, PARTS, known)]
        if any(c.get("probe") for c in mine):
            lines += ["", "Recall by a linear probe in percent (mean over subgroups, 95 % interval), one seed:", ""]
            lines += probe_table(mine)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def arguments() -> tuple[argparse.Namespace, str]:
    """What is asked, and the command that asks it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--models", nargs="+", choices=SYMBOLS, default=SYMBOLS, help="of the embedded world")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--subgroups", type=int, default=SUBGROUPS, help="of six, easy, middling and hard in turn")
    parser.add_argument("--gold", help="folders of models trained without designs; {tower} stands for rn or vit")
    parser.add_argument("--check", type=int, default=0, help="make so many finished cells again, and compare weights")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/subgroup"))
    asked = parser.parse_args()
    return asked, "EFFACE_NATURAL=FOLDER " + command_of(
        "subgroup.py", parser, asked, ("families", "models", "rows", "seeds", "subgroups")
    )


def worlds_of(asked: argparse.Namespace) -> list[World]:
    """All that is asked for, the embedded models first."""
    of_world = [family for family in asked.families if family in OF_SYMBOLS]
    others = [family for family in asked.families if family not in OF_SYMBOLS]
    models = asked.models if of_world else ()
    found = [world for model in models for world in of_symbols(model, of_world, asked.gold)]
    return [*found, *(of_photographs(others) if others else ())]


def said(job: Job) -> str:
    """A cell in words."""
    world, row, target, seed = job
    return f"{world.model}, {row}, {target.label}, seed {seed}"


def main() -> None:
    """Runs what is missing, and writes the table after each cell."""
    asked, command = arguments()
    worlds = worlds_of(asked)
    for world in worlds:
        labels = "; ".join(target.label for target in world.targets)
        print(f"{world.model} knows {world.drawn}; taken: {labels}", flush=True)
    jobs = wanted(worlds, asked.rows, asked.seeds, asked.subgroups)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "cells.jsonl"
    cells = [c for c in read_cells(path) if c.get("key") in jobs]
    if asked.check:
        sys.exit(check([*jobs], cells, asked.check, lambda key: (said(jobs[key]), cell(jobs[key]))))
    done, known = {c["key"] for c in cells}, Lines()
    print(f"{len(done)} of {len(jobs)} cells are finished", flush=True)
    for key, job in jobs.items():
        if key in done or asked.table:
            continue
        world, row, target, seed = job
        head = {"key": key, "family": world.family, "model": world.model, "row": row, "subgroup": target.label}
        found = head | {"seed": seed} | cell(job)
        append(path, found)
        cells.append(found)
        told = found.get("failed") or f"{found.get('seconds', 0):.0f} s, {found.get('reason', '')}"
        print(f"{said(job)}: {told}", flush=True)
        write_table(asked.out / "table.md", worlds, cells, command, known)
    write_table(asked.out / "table.md", worlds, cells, command, known)


if __name__ == "__main__":
    main()
