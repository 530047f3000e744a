"""Audits models of which it is known whether they hold a class: what the audit misses, and when it cries wolf.

    python benchmarks/audit.py [--quick]

Protocol. Ten classes of the embedded world, which gold was trained without; thresholds are fixed on five of them and
error rates are of the five others. Of each class and seed are audited: the original, which holds it; gold, which never
saw it, with gold of the next seed beside it; five covers (see covers.py), which hold it; and, with ``--methods``, what
the methods make. The attacker's images are of `symbols:retain`, those that judge of `symbols:test`, and neither made
anything that is audited: covers are made with `symbols:calibration`; methods that take images get those of the whole
class from `symbols:forget`, those of all other classes from there too, as what is to stay, and choose their settings by
some of these that they put aside.

The small model of photographs (``--towers natural``, with EFFACE_NATURAL) has no gold, and the classes of lip.py: the
attacker's images are of half A, those that judge of half B; methods that take images get 50 of every class that the
model was trained on, which are known as members to the attack that asks for them. It counts for no error rate.

There are as many seeds of gold as there are models. A seed without one has no gold to audit, and other subjects the
gold of another seed beside them; the only gold of a tower is audited with nothing beside it, and counts without gold
alone.

A *miss* is an original or a cover in which nothing revives the class; a *false alarm* is gold in which something does;
a *wrong reason* is one that is caught, and none of the places that the verdict gives is where it holds the class. Gold
that is called over-forgotten is counted beside them: no threshold that is tried decides it. All are counted with gold
beside, and from the same figures without it.

Every finished cell is a line in cells.jsonl, under a key of all that its rows depend on but the code: the settings of
attacks and methods, weights, data, class and seed. A run that was cut off goes on where it was; delete that file after
a change of the code. Rows are kept, and judged when the table is written, so that thresholds are in no key. All towers
and subjects of a class come before the next class. The table is written after each.
"""

import argparse
import hashlib
import itertools
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

import torch
from cells import TEN, Cell, append, command_of, efface_version, read_cells, synthesis_of
from covers import COVERS
from subjects import (
    ATTACKERS,
    EACH,
    FIXED_ON,
    JUDGING,
    METHODS,
    NEVER,
    ORIGINAL,
    REPORTED,
    TOWERS,
    World,
    world_of,
)
from torch import Tensor

import efface
from efface.attacks.base import EDITED, GOLD, Asked, Attack, Row
from efface.attacks.judging import Case, Thresholds
from efface.attacks.probe import LinearProbe
from efface.attacks.registry import attack_names
from efface.attacks.relearn import Relearn, Shown
from efface.attacks.shots import Neighborhood
from efface.attacks.soft_prompt import SoftPrompt, Task
from efface.attacks.verdict import SAYS, Verdict, Where, judge
from efface.auditing.asking import Wanted
from efface.backends.base import digest
from efface.errors import EffaceError
from efface.fitting import MemoryLackError
from efface.functional.metrics import wilson_interval
from efface.methods import method_preset

HIDES: Mapping[str, tuple[Where, ...]] = {
    "moved text": ("texts",),
    "replaced text tower": ("texts",),
    "last-layer projection": ("last map",),
    "head only": ("last map",),
    # A step towards the base shows it, and so do features that were moved by a little: on a ResNet in the last map.
    "soup with too much of the base": ("weights", "features", "last map"),
    ORIGINAL: ("everywhere",),
}
"""Where each holds the class."""
ERRORS, OVER = ("miss", "false alarm", "wrong reason"), "over-forgotten"
"""What thresholds are fixed by, and what is counted beside it."""
GRID = {"revived": (0.4, 0.5, 0.6), "unknown": (0.6, 0.7, 0.8), "margin": (0.0, 0.05, 0.1)}
"""Thresholds that are tried."""


class OnceProbe(LinearProbe):
    """A probe that is fitted once to the features of original and gold for all subjects of a class and seed."""

    known: ClassVar[dict[str, tuple[Row, ...]]] = {}

    def of_model(self, model: str, near: Neighborhood, drawn: Mapping[int, Sequence[Tensor]]) -> tuple[Row, ...]:
        """As it is, or as it was before."""
        if model == EDITED:
            return super().of_model(model, near, drawn)
        parts = [*near.train[model].features.values(), *near.test[model].features.values(), near.labels]
        parts += [rows for sets in drawn.values() for rows in sets]
        key = hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()
        if key not in self.known:
            self.known[key] = super().of_model(model, near, drawn)
        return tuple(replace(row, model=model) for row in self.known[key])


class OnceSoftPrompt(SoftPrompt):
    """Soft prompts that are fitted once to original and gold for all subjects of a class and seed."""

    known: ClassVar[dict[tuple[str, str, str, int], tuple[Row, ...]]] = {}

    def rows(self, task: Task, advance: Callable[[int], None]) -> Iterator[Row]:
        """As it is, or as it was before."""
        if task.called == EDITED:
            return super().rows(task, advance)
        key = (digest(task.clip.stored_state()), task.asked.name, task.role, task.asked.seed)
        if key not in self.known:
            self.known[key] = tuple(super().rows(task, advance))
        return (replace(row, model=task.called) for row in self.known[key])


class OnceRelearn(Relearn):
    """Relearning in which original and gold are taught once for all subjects of a class and seed."""

    known: ClassVar[dict[tuple[str, str, int], tuple[Row, ...]]] = {}

    def taught(
        self, asked: Asked, called: str, shown: Shown, seed: int, advance: Callable[[int], None]
    ) -> tuple[Row, ...]:
        """As it is, or as it was before."""
        if called == EDITED:
            return super().taught(asked, called, shown, seed, advance)
        key = (digest(asked.models[called].stored_state()), asked.name, seed)
        if key not in self.known:
            self.known[key] = super().taught(asked, called, shown, seed, advance)
        return tuple(replace(row, model=called) for row in self.known[key])


ONCE: Mapping[str, Callable[[], Attack]] = {one.name: one for one in (OnceProbe, OnceSoftPrompt, OnceRelearn)}


def key_of(world: World, called: str, name: str, seed: int, wanted: Wanted) -> str:
    """What a finished cell is found again by."""
    method = method_preset(*METHODS[called]) if called in METHODS else None
    made = [] if method is None else [asdict(method), asdict(synthesis_of(METHODS[called][1]))]  # type: ignore[call-overload]
    weights = [world.weights, *(one and one.weights for one in world.golden(called, name, seed))]
    data = [world.data[of].sha256 for of in sorted(world.data)]
    attacks = [[attack.name, str(attack)] for attack in wanted.chosen()]
    settings = [called, name, seed, made, weights, data, attacks, EACH, efface_version]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def audited(world: World, called: str, name: str, seed: int, wanted: Wanted) -> Cell:
    """One subject audited, with gold beside it that is another one than itself, where there is one."""
    started = time.perf_counter()
    _, beside = world.golden(called, name, seed)
    try:
        edited = world.subject(called, name, seed)
        if edited is None:
            return {"failed": "nothing was made"}
        made = time.perf_counter() - started
        gold = None if beside is None else beside.clip
        done = efface.audit(edited, name, against=world.clip, data=world.data[JUDGING], gold=gold, wanted=wanted)
    except MemoryLackError:
        raise  # it says nothing of the subject, and another time there may be enough
    except EffaceError as error:
        return {"failed": str(error)}
    tried = {one.attack: one for one in done.tried}
    return {
        "made": round(made, 1),
        "seconds": {name: one.seconds for name, one in tried.items()},
        "lacked": {name: one.lacked for name, one in tried.items() if one.lacked},
        "broke": {name: one.failed for name, one in tried.items() if one.failed},
        "rows": [asdict(row) for one in done.tried for row in one.rows],
        "weights": digest(edited.stored_state()),
    }


def rows_of(cell: Cell, *, gold: bool) -> list[Row]:
    """What attacks found, with gold beside or as if there were none."""
    rows = [Row(**row) for row in cell["rows"]]
    return rows if gold else [row for row in rows if row.model != GOLD]


def is_whole(cell: Cell) -> bool:
    """Whether there is a model, and no attack on it broke."""
    return "failed" not in cell and not cell["broke"]


def judged(cells: Sequence[Cell], *, gold: bool) -> list[Cell]:
    """The cells that can be judged so: with gold those beside which there was one."""
    return [cell for cell in cells if not gold or any(row["model"] == GOLD for row in cell["rows"])]


def errors(cells: Sequence[Cell], *, gold: bool, used: Thresholds) -> dict[str, list[bool]]:
    """Of each kind of error, whether each cell that could be one is."""
    found: dict[str, list[bool]] = {kind: [] for kind in (*ERRORS, OVER)}
    for cell in judged(cells, gold=gold):
        verdict = judge(rows_of(cell, gold=gold), used)
        if cell["subject"] == NEVER:
            found["false alarm"].append(verdict.revived)
            found[OVER].append(verdict.word == OVER)
        elif cell["subject"] in HIDES:
            found["miss"].append(not verdict.revived)
            if verdict.revived:
                # Every place that is found is a reason, the cheapest first.
                right = [SAYS[place] for place in HIDES[cell["subject"]]]
                found["wrong reason"].append(not any(words in reason for words in right for reason in verdict.reasons))
    return found


def fixed(cells: Sequence[Cell]) -> tuple[Thresholds, int]:
    """The thresholds with the fewest errors, with gold and without, and how many; the default ones among equals."""
    tried = [Thresholds()] + [
        Thresholds(revived=revived, unknown=unknown, margin=margin)
        for revived, unknown, margin in itertools.product(*GRID.values())
    ]

    def count(used: Thresholds) -> int:
        found = [errors(cells, gold=gold, used=used) for gold in (True, False)]
        return sum(sum(one[kind]) for one in found for kind in ERRORS)

    counts = [count(used) for used in tried]
    return tried[counts.index(min(counts))], min(counts)


def share(found: Sequence[bool]) -> str:
    """A share in percent with its Wilson interval."""
    if not found:
        return "none"
    low, high = wilson_interval(sum(found), len(found))
    return f"{sum(found)} of {len(found)} ({100 * low:.0f} to {100 * high:.0f} %)"


def counted_words(verdicts: Sequence[Verdict]) -> str:
    """How often what was said."""
    said = [f"{one.word}, {one.where}" for one in verdicts]
    return "; ".join(f"{said.count(one)} {one}" for one in dict.fromkeys(said))


def reviving(verdicts: Sequence[Verdict]) -> str:
    """The attacks that revived, and in how many audits."""
    names = [one.attack for verdict in verdicts for one in verdict.findings if one.judgement == "revived"]
    return ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names)) or "none"


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """All tables, a line at a time."""
    classes = {"fixed on": FIXED_ON, "reported on": REPORTED}
    used, count = fixed([c for c in cells if c["class"] in FIXED_ON])
    yield f"Thresholds with the fewest errors on {', '.join(FIXED_ON)} ({count} there): `{used}`."
    yield "Those of the audit: " + ("the same." if used == Thresholds() else f"`{Thresholds()}`.")
    yield ""
    yield "| classes | thresholds | gold beside | misses | false alarms | wrong reasons | gold called over-forgotten |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for role, names in classes.items():
        mine = [c for c in cells if c["class"] in names]
        for called, one in (("those of the audit", Thresholds()), ("the best of the first five", used)):
            for gold in (True, False):
                found = errors(mine, gold=gold, used=one)
                figures = " | ".join(share(found[kind]) for kind in (*ERRORS, OVER))
                yield f"| {role} | {called} | {'yes' if gold else 'no'} | {figures} |"
    yield from verdicts_of(cells)
    yield from ways(cells)


def verdicts_of(cells: Sequence[Cell]) -> Iterator[str]:
    """What was said of every subject, with gold beside and without, a line at a time."""
    for gold in (True, False):
        yield ""
        yield f"Verdicts {'with' if gold else 'without'} gold beside, all classes, and the attacks that revived."
        yield ""
        yield "| model | subject | audits | verdicts | revived by |"
        yield "|---|---|--:|---|---|"
        for tower, subject in dict.fromkeys((c["tower"], c["subject"]) for c in cells):
            mine = judged([c for c in cells if (c["tower"], c["subject"]) == (tower, subject)], gold=gold)
            verdicts = [judge(rows_of(c, gold=gold)) for c in mine]
            yield f"| {tower} | {subject} | {len(mine)} | {counted_words(verdicts)} | {reviving(verdicts)} |"


def ways(cells: Sequence[Cell]) -> Iterator[str]:
    """How what methods made was revived: of every attack the first of its settings that did, a line at a time."""
    yield ""
    yield "What revived the results of methods, and at what cost; with gold beside where there is one. *First* is the"
    yield "first setting of an attack that did, as cheap ones come before dear ones; where that differs from audit to"
    yield "audit, the most frequent one. Figures are means over the audits in which it was the first, in percent."
    yield ""
    yield "| model | subject | attack | revived in | first | cost | original | edited | never learned |"
    yield "|---|---|---|--:|---|---|--:|--:|--:|"
    for tower, subject in dict.fromkeys((c["tower"], c["subject"]) for c in cells if c["subject"] in METHODS):
        mine = [c for c in cells if (c["tower"], c["subject"]) == (tower, subject)]
        verdicts = [judge(rows_of(c, gold=True)) for c in mine]
        firsts = [first_revived(verdict) for verdict in verdicts]
        for attack in dict.fromkeys(name for found in firsts for name in found):
            found = [one[attack] for one in firsts if attack in one]
            setting, n = Counter(one.setting for one in found).most_common(1)[0]
            alike = [one for one in found if one.setting == setting]
            floors = [one.floor for one in alike if one.floor is not None]
            figures = [[one.original for one in alike], [one.edited for one in alike], floors]
            shown = " | ".join(f"{100 * sum(some) / len(some):.1f}" if some else "unknown" for some in figures)
            yield (
                f"| {tower} | {subject} | {attack} | {len(found)} of {len(mine)} | {setting} ({n}) | "
                f"{alike[0].cost or 'none'} | {shown} |"
            )


def first_revived(verdict: Verdict) -> dict[str, Case]:
    """Of each attack that revived the first setting that did."""
    found: dict[str, Case] = {}
    for case in verdict.cases:
        if case.judgement == "revived":
            found.setdefault(case.attack, case)
    return found


def write_table(path: Path, cells: Sequence[Cell], command: str) -> None:
    """The tables with what made them."""
    whole = [c for c in cells if is_whole(c)]
    by_class = ", ".join(f"{name} {n}" for name, n in Counter(c["class"] for c in whole).items())
    seeds = sorted({c["seed"] for c in whole})
    lines = [
        "# What the audit misses, and when it cries wolf",
        "",
        f"`{command}`",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"efface {efface_version}. Finished: {len(whole)} audits ({by_class}), seeds {seeds}; left out, as no model "
        f"was made or an attack broke: {len(cells) - len(whole)}. Intervals are Wilson's "
        "over audits, which are not independent of each other: classes, seeds and models come again.",
        "",
        *(table(whole) if whole else ()),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def wanted_cells(asked: argparse.Namespace, worlds: Mapping[str, World]) -> Iterator[tuple[str, str, str, str, int]]:
    """Key, tower, subject, class and seed, in the order in which they are to be run."""
    for seed, number, called in itertools.product(range(asked.seeds), range(asked.classes), asked.subjects):
        for tower, world in worlds.items():
            for name in world.classes[number : number + 1]:
                if called != NEVER or world.golden(called, name, seed)[0] is not None:
                    yield key_of(world, called, name, seed, wanted_of(asked, world, seed)), tower, called, name, seed


def wanted_of(asked: argparse.Namespace, world: World, seed: int) -> Wanted:
    """What is tried, with which images."""
    names = asked.attacks or ([] if asked.quick else attack_names())
    attacks: tuple[str | Attack, ...] = tuple(ONCE[name]() if name in ONCE else name for name in names)
    return Wanted(attacks=attacks, quick=asked.quick, images=world.data[ATTACKERS], seed=seed, members=world.members)


def arguments() -> tuple[argparse.Namespace, str]:
    """What is asked, and the command that asks it."""
    subjects = (ORIGINAL, NEVER, *COVERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", default=TEN, help="folders of models trained without classes; {tower}: rn or vit")
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=TOWERS[:2])
    parser.add_argument("--subjects", nargs="+", choices=(*subjects, *METHODS), default=list(subjects))
    parser.add_argument("--methods", action="store_true", help="audit what the methods make as well")
    parser.add_argument("--attacks", nargs="+", default=[], help="these alone")
    parser.add_argument("--quick", action="store_true", help="the quick attacks alone")
    parser.add_argument("--classes", type=int, default=10, help="of ten, five of either kind in turn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/audit"))
    asked = parser.parse_args()
    if asked.methods:
        asked.subjects = [*asked.subjects, *(name for name in METHODS if name not in asked.subjects)]
    names = ("quick", "towers", "subjects", "attacks", "classes", "seeds")
    return asked, command_of("audit.py", parser, asked, names)


def main() -> None:
    """Runs what is missing, and writes the table after each cell."""
    asked, command = arguments()
    worlds = {tower: world_of(tower, asked.gold) for tower in asked.towers}
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "cells.jsonl"
    keys = {key: (tower, called, name, seed) for key, tower, called, name, seed in wanted_cells(asked, worlds)}
    known = {c["key"]: c for c in read_cells(path) if c.get("key") in keys}
    for key, (tower, called, name, seed) in keys.items():
        # What did not come to its end may have lacked memory: it is tried again.
        if asked.table or (key in known and is_whole(known[key])):
            continue
        head = {"key": key, "tower": tower, "subject": called, "class": name, "seed": seed}
        found: Cell = head | audited(worlds[tower], called, name, seed, wanted_of(asked, worlds[tower], seed))
        append(path, found)
        known[key] = found
        said = found.get("failed") or judge(rows_of(found, gold=True)).word
        print(
            f"{tower}, {called}, {name}, seed {seed}: {said}, {sum(found.get('seconds', {}).values()):.0f} s",
            flush=True,
        )
        write_table(asked.out / "table.md", [*known.values()], command)
    write_table(asked.out / "table.md", [*known.values()], command)


if __name__ == "__main__":
    main()
