"""Subgroups to forget, of four families: what a method may work on, and which held-out images say what came of it.

A subgroup is drawn by a fixed seed, one a class, group of signs or group of photographs, among those of which the model
answers 30 % of the images right, less those that settings were tried out on; of these two easy ones, two in the middle
and two hard ones are taken. Where models were trained without six or more of the subgroups that could be drawn, only
these are.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from cells import Bits, ask, gold_models, half, in_memory, interleaved, spread
from jaxtyping import Int
from main_job import TRIED as TRIED_PHOTOGRAPHS
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP, digest
from efface.data.hierarchy import read_hierarchy
from efface.data.holdout import EvalData
from efface.data.sources import open_source
from efface.data.subset import some_of
from efface.data.symbols import open_symbols
from efface.symbols.catalogue import GROUPS, MEMBERS, design_names

Group = TypeVar("Group")
Golden = tuple[LoadedCLIP, frozenset[str]]
"""A model that was trained without some designs, and these."""
DESIGN, STYLE, SIBLING, CIFAR = "design of a class", "style across classes", "sibling class", "CIFAR-10 class"
FAMILIES = (DESIGN, STYLE, SIBLING, CIFAR)
OF_SYMBOLS = (DESIGN, STYLE)
SYMBOLS, PHOTOGRAPHS = ("symbols-vit", "symbols-rn"), "tiny-natural-rn"
TRIED = ("knight", "leo", "bishop")
"""Classes of the embedded world that settings were tried out on."""
KNOWN = 0.3
EACH = 2
"""Subgroups of each sort: easy, middling, hard."""
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
SPLITS = ("forget", "retain", "calibration", "test", "unseen")
Rows = Int[Tensor, " rows"]


@dataclass(frozen=True, slots=True)
class Target:
    """A subgroup to forget.

    Attributes:
        label: what a table calls it.
        names: its classes.
        where: which of their images it is; empty for all.
        images: a source of images of it that a method may work on.
        retain: of images of what is to stay.
        calibration: of images to choose a setting by; None where some of the others are put aside for that.
        forget: which held-out images are of it.
        siblings: which are of its siblings.
        elsewhere: which of the other held-out source are to stay.
        probes: images to fit linear probes to, and to ask them of; of its classes its own alone.
        gold: models that were trained without it.
        gold_weights: their digests.
    """

    label: str
    names: tuple[str, ...]
    where: Mapping[str, str]
    images: EvalData
    retain: EvalData
    calibration: EvalData | None
    forget: Bits
    siblings: Bits
    elsewhere: Bits
    probes: tuple[EvalData, EvalData]
    gold: tuple[LoadedCLIP, ...] = ()
    gold_weights: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """A model, and the subgroups of a family that it is to forget.

    Attributes:
        family: the family.
        model: its name.
        clip: the model.
        weights: its digest.
        names: of all classes.
        drawn: how the subgroups were come by, in words.
        data: held-out images of these classes, and others.
        targets: an easy one, one in the middle, a hard one, and so on.
        hierarchy: the group of a class, where that is known.
    """

    family: str
    model: str
    clip: LoadedCLIP
    weights: str
    names: tuple[str, ...]
    drawn: str
    data: tuple[EvalData, EvalData]
    targets: tuple[Target, ...]
    hierarchy: Mapping[str, str] | None = None


def part(data: EvalData, rows: Rows) -> EvalData:
    """Some of the images, as a source with a digest of its own."""
    sha256 = hashlib.sha256(f"{data.sha256} {rows.tolist()}".encode()).hexdigest()
    return replace(some_of(data, rows), sha256=sha256)


def right(clip: LoadedCLIP, data: EvalData) -> Bits:
    """Which images a model answers right."""
    found: Bits = (ask(clip, None, data, ()).ranks["before"] == 0).numpy()
    return found


def three_sorts(groups: Sequence[Group], accuracy: Callable[[Group], float], each: int = EACH) -> tuple[Group, ...]:
    """Of groups an easy one, one in the middle, a hard one, and so on; among equals the first come first."""
    ordered = sorted(groups, key=lambda group: -accuracy(group))
    return interleaved([*chain.from_iterable(spread(ordered, each))], each)


def of_symbols(model: str, families: Sequence[str], pattern: str | None) -> Iterator[World]:
    """The worlds of an embedded model.

    Args:
        model: its name.
        families: which.
        pattern: folders of models that were trained without designs; ``{tower}`` stands for its tower.
    """
    clip = efface.load(f"builtin:{model}")
    sources = {name: open_symbols(f"symbols:{name}", preprocess=clip.preprocess) for name in SPLITS}
    folders = "" if pattern is None else pattern.replace("{tower}", model.removeprefix("symbols-"))
    gold = [(one, frozenset(without.get("designs", ()))) for one, without in gold_models(folders)] if folders else []
    data = in_memory(sources["test"]), in_memory(sources["unseen"])
    is_right = right(clip, sources["calibration"])
    weights = digest(clip.stored_state())

    def accuracy(kind: tuple[tuple[str, ...], str]) -> float:
        return float(is_right[so(sources["calibration"], *kind)].mean())

    for family in families:
        drawn = designs(family, [lacks for _, lacks in gold])
        known = [kind for kind in drawn if accuracy(kind) >= KNOWN]
        golden = [(names, design) for names, design in known if any(drawings(names, design) <= g for _, g in gold)]
        chosen = three_sorts(golden if len(golden) >= 3 * EACH else known, accuracy)
        of = "class" if family == DESIGN else "group of classes"
        said = f"{len(known)} of {len(drawn)} designs, one a {of}"
        targets = tuple(symbol_target(names, design, sources, gold) for names, design in chosen)
        yield World(family, model, clip, weights, MEMBERS, said, data, targets)


def designs(family: str, lacks: Sequence[frozenset[str]]) -> list[tuple[tuple[str, ...], str]]:
    """Classes with one of their designs, in random order; where there is gold of one of them it is that one."""
    rng = np.random.default_rng(0)
    kinds: list[tuple[tuple[str, ...], tuple[str, ...]]]
    if family == DESIGN:
        kinds = [((name,), design_names(row)) for row, name in enumerate(MEMBERS) if name not in TRIED]
    else:
        kinds = [(group.members, group.designs) for group in GROUPS if not set(group.members) & set(TRIED)]
    found = []
    for place in rng.permutation(len(kinds)):
        names, of_names = kinds[place]
        any_of_them = of_names[int(rng.integers(len(of_names)))]
        golden = (design for design in of_names if any(drawings(names, design) <= lack for lack in lacks))
        found.append((names, next(golden, any_of_them)))
    return found


def drawings(names: Sequence[str], design: str) -> frozenset[str]:
    """The design of each of the classes, as pre-training leaves it out."""
    return frozenset(f"{name}/{design}" for name in names)


def so(data: EvalData, names: Sequence[str], design: str | None) -> Bits:
    """Which images of the embedded world are of the classes, and of the design where one is named."""
    found = data.of_classes(names).numpy()
    return found if design is None else found & (np.array(data.columns["design"]) == design)


def symbol_target(
    names: tuple[str, ...],
    design: str,
    sources: Mapping[str, EvalData],
    gold: Sequence[Golden],
) -> Target:
    """A design of some classes of the embedded world; the classes' other designs are its siblings."""

    def without_siblings(data: EvalData) -> EvalData:
        stays = ~so(data, names, None) | so(data, names, design)
        return part(data, torch.from_numpy(stays.nonzero()[0]))

    test, golden = sources["test"], [one for one, lacks in gold if drawings(names, design) <= lacks]
    forget = so(test, names, design)
    return Target(
        label=f"{', '.join(names)}: {design}",
        names=names,
        where={"design": design},
        images=sources["forget"],
        retain=sources["retain"],
        calibration=sources["calibration"],
        forget=forget,
        siblings=so(test, names, None) & ~forget,
        elsewhere=~so(sources["unseen"], names, design),
        probes=(without_siblings(sources["retain"]), without_siblings(test)),
        gold=tuple(golden),
        gold_weights=tuple(digest(one.stored_state()) for one in golden),
    )


def of_photographs(families: Sequence[str]) -> Iterator[World]:
    """The worlds of the small natural model."""
    folder = Path(os.environ["EFFACE_NATURAL"])
    clip = efface.load(f"local-dir:{folder / 'models' / PHOTOGRAPHS}")
    paths = {
        SIBLING: folder / "data" / "tiny-imagenet" / "val.parquet",
        CIFAR: folder / "data" / "cifar10" / "test.parquet",
    }
    whole = {family: open_source(str(path), preprocess=clip.preprocess) for family, path in paths.items()}
    held = {family: in_memory(half(data, odd=True)) for family, data in whole.items()}
    hierarchies = {
        SIBLING: read_hierarchy(paths[SIBLING].parent / "hypernyms.tsv"),
        CIFAR: {name: "animal" if name in ANIMALS else "vehicle" for name in whole[CIFAR].class_names},
    }
    weights = digest(clip.stored_state())
    for family in families:
        data, other = whole[family], held[CIFAR if family == SIBLING else SIBLING]
        first, is_right, labels = half(data, odd=False), right(clip, data), data.images.labels.numpy()
        of = {name: is_right[labels == row] for row, name in enumerate(data.class_names)}
        known = [name for name, answers in of.items() if answers.mean() >= KNOWN]
        free = [name for name in known if name not in TRIED_PHOTOGRAPHS]
        # Of a group several would be no different subgroups; CIFAR-10's two groups are too few for that.
        candidates = one_a_group(free, known, hierarchies[family]) if family == SIBLING else free
        # How hard they are is said by half A alone.
        by_half = {name: float(answers[::2].mean()) for name, answers in of.items()}
        chosen = three_sorts(candidates, by_half.__getitem__)
        groups = f", and siblings in {len(candidates)} groups" if family == SIBLING else ""
        said = f"{len(known)} of {len(of)} classes{groups}"
        targets = tuple(photograph_target(name, data, first, other, hierarchies[family]) for name in chosen)
        both = held[family], other
        yield World(family, PHOTOGRAPHS, clip, weights, data.class_names, said, both, targets, hierarchies[family])


def one_a_group(free: Sequence[str], known: Sequence[str], hierarchy: Mapping[str, str]) -> list[str]:
    """In random order a class of each group of which another one is known, too."""
    rng, found = np.random.default_rng(0), dict[str, str]()
    for place in rng.permutation(len(free)):
        name = free[place]
        group = hierarchy.get(name)
        if group is not None and any(hierarchy.get(other) == group for other in known if other != name):
            found.setdefault(group, name)
    return list(found.values())


def photograph_target(
    name: str, whole: EvalData, first: EvalData, other: EvalData, hierarchy: Mapping[str, str]
) -> Target:
    """A class of photographs; the other classes of its group are its siblings."""
    test = half(whole, odd=True)
    of_class = first.of_classes([name])
    near = [known for known in whole.class_names if known != name and hierarchy.get(known) == hierarchy[name]]
    return Target(
        label=name,
        names=(name,),
        where={},
        images=part(first, of_class.nonzero()[:, 0]),
        retain=part(first, (~of_class).nonzero()[:, 0]),
        calibration=None,
        forget=test.of_classes([name]).numpy(),
        siblings=test.of_classes(near).numpy(),
        elsewhere=np.ones(len(other.images), dtype=bool),
        probes=(first, test),
    )
