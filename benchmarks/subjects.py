"""Models that the audit is tried on, with their classes, and what is made of them: covers, and what methods make."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from cells import gold_models, half_of, interleaved, synthesis_of
from covers import COVERS, Material
from families import part
from main_job import drawn

import efface
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.own import taken
from efface.data.sources import open_source
from efface.data.symbols import open_symbols
from efface.methods import method_preset
from efface.symbols.catalogue import MEMBERS
from efface.types import TensorImages

PHOTOGRAPHS = "natural"
TOWERS = ("rn", "vit", PHOTOGRAPHS)
"""Of the embedded world; and the small model of photographs."""
FIXED_ON = ("bishop", "heart", "four", "omega", "leo")
REPORTED = ("jupiter", "left arrow", "sharp", "umbrella", "integral")
ORIGINAL, NEVER = "original", "gold"
METHODS: Mapping[str, tuple[str, str]] = {
    "lip default": ("lip", "default"),
    "lip paper": ("lip", "paper"),
    "subgroup default": ("subgroup", "default"),
    "subgroup paper": ("subgroup", "paper"),
    "projection": ("projection", "default"),
    "ga": ("ga", "default"),
    "jit": ("jit", "default"),
}
EACH = 20
"""Images of every class that a cover is made with."""
TAUGHT = 50
"""Training images of every class of photographs that a method may work on."""
GIVEN, ATTACKERS, OF_COVERS, JUDGING = "forget", "retain", "calibration", "test"
"""What images are for; in the embedded world the splits that they come from."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A model that was trained without some classes.

    Attributes:
        clip: the model.
        lacks: the classes.
        weights: its digest.
    """

    clip: LoadedCLIP
    lacks: tuple[str, ...]
    weights: str


@dataclass(frozen=True, slots=True)
class World:
    """A model that knows some classes, and images of them.

    Attributes:
        clip: the model.
        weights: its digest.
        names: of all classes.
        classes: those that are audited, in their order.
        data: images by what they are for.
        images: those that covers are made with; labels are rows of ``names``.
        gold: models that were trained without some classes.
        members: images that it was trained on, where that is known.
    """

    clip: LoadedCLIP
    weights: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    data: Mapping[str, EvalData]
    images: TensorImages
    gold: tuple[Gold, ...] = ()
    members: EvalData | None = None

    def golden(self, called: str, name: str, seed: int) -> tuple[Gold | None, Gold | None]:
        """Gold of this seed, where there is one; and gold to stand beside the subject, which is another than that."""
        known = [one for one in self.gold if name in one.lacks]
        own = known[seed] if seed < len(known) else None
        others = [one for one in known if called != NEVER or one is not own]
        return own, others[seed % len(others)] if others else None

    def subject(self, called: str, name: str, seed: int) -> LoadedCLIP | None:
        """The model that is audited; None where a method made none."""
        if called == ORIGINAL:
            return self.clip
        if called == NEVER:
            own, _ = self.golden(called, name, seed)
            return None if own is None else own.clip
        if called in COVERS:
            return COVERS[called](Material(self.clip, name, self.names, self.images, seed))
        preset = METHODS[called][1]
        method = method_preset(*METHODS[called])
        is_given = bool(method.needs.retain_images)
        return efface.forget(
            self.clip,
            name,
            among=self.names,
            method=method,
            preset=preset,
            synthesizer=synthesis_of(preset),
            images=self.given(name, of_class=True) if is_given else None,
            retain=self.given(name, of_class=False) if is_given else None,
            seed=seed,
        ).clip

    def given(self, name: str, *, of_class: bool) -> EvalData:
        """Images that a method is given: of the class, or of all others."""
        rows = self.data[GIVEN].of_classes([name])
        return part(self.data[GIVEN], (rows if of_class else ~rows).nonzero()[:, 0])


def world_of(tower: str, pattern: str) -> World:
    """A model with all that is needed to audit it.

    Args:
        tower: which.
        pattern: folders of models of the embedded world that were trained without classes; ``{tower}`` stands for it.
    """
    return of_photographs() if tower == PHOTOGRAPHS else of_symbols(tower, pattern)


def of_symbols(tower: str, pattern: str) -> World:
    """An embedded model."""
    clip = efface.load(f"builtin:symbols-{tower}")
    found = gold_models(pattern.replace("{tower}", tower))
    gold = tuple(Gold(one, lacks.get("classes", ()), digest(one.stored_state())) for one, lacks in found)
    splits = (GIVEN, ATTACKERS, OF_COVERS, JUDGING)
    data = {of: open_symbols(f"symbols:{of}", preprocess=clip.preprocess) for of in splits}
    classes = tuple(name for pair in zip(FIXED_ON, REPORTED, strict=True) for name in pair)
    return World(clip, digest(clip.stored_state()), MEMBERS, classes, data, some_of_each(data[OF_COVERS]), gold)


def of_photographs() -> World:
    """The small natural model, with the classes of lip.py; methods have images that it was trained on."""
    folder = Path(os.environ["EFFACE_NATURAL"])
    clip = efface.load(f"local-dir:{folder / 'models' / 'tiny-natural-rn'}")
    sources = [folder / "data" / "tiny-imagenet" / f"{which}.parquet" for which in ("train", "val")]
    train, held = (open_source(str(path), preprocess=clip.preprocess) for path in sources)
    given = part(train, first_of_each(train, TAUGHT))
    first, second = (part(held, half_of(held, odd=odd)) for odd in (False, True))
    data = {GIVEN: given, ATTACKERS: first, OF_COVERS: given, JUDGING: second}
    classes = interleaved(drawn(clip, held, each=4)[1], 4)
    images = some_of_each(given)
    return World(clip, digest(clip.stored_state()), held.class_names, classes, data, images, members=given)


def first_of_each(data: EvalData, most: int) -> torch.Tensor:
    """The rows of the first images of each class, in their order."""
    labels = data.images.labels
    rows = [torch.nonzero(labels == label)[:most, 0] for label in range(len(data.class_names))]
    return torch.cat(rows).sort().values


def some_of_each(data: EvalData) -> TensorImages:
    """Images that covers are made with."""
    rows = first_of_each(data, EACH)
    images, _ = taken(data, rows)
    return TensorImages(images, data.images.labels[rows])
