"""The embedded world as a data source: ``symbols:SPLIT``, or ``symbols:SPLIT:groups`` for the wider classes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.images import Preprocess, Rows
from efface.errors import InputError, offer
from efface.symbols.catalogue import (
    COLORS,
    GROUP_OF,
    GROUPS,
    MEMBERS,
    STYLES,
    captions,
    design_names,
)
from efface.symbols.compose import SIZE, Scenes, compose
from efface.symbols.splits import SPLITS, scenes
from efface.types import Images, Labels, PixelSpace, row_order

PREFIX = "symbols:"
LEVELS = ("members", "groups")
FIELDS = ("member", "group", "design", "color", "style")
"""What scenes can be told apart by; a design is named within its group."""
KINDS = ("classes", "designs")
"""What pre-training can leave out."""
CHUNK = 64
"""Images composed at a time: what fits into a core's cache."""


@dataclass(frozen=True)
class SymbolImages:
    """Images of the world, composed as they are handed out.

    Attributes:
        scenes: what is on each.
        labels: one an image.
        preprocess: from a picture to model input.
    """

    scenes: Scenes
    labels: Labels
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows: Int[Tensor, " rows"]) -> "SymbolImages":
        """These images alone, in this order."""
        return SymbolImages(self.scenes.take(rows.numpy()), self.labels[rows], self.preprocess)

    def batches(
        self, size: int, *, rng: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Images, Labels]]:
        """Every image once, ``size`` at a time: shuffled by ``rng``, else as stored; without the ``first``."""
        yield from self.in_order(row_order(len(self), rng)[first:], size)

    def in_order(self, rows: Rows, size: int) -> Iterator[tuple[Images, Labels]]:
        """The images of these rows in this order, ``size`` at a time."""
        for part in torch.split(rows, size):
            drawn = compose(self.scenes.take(part.numpy()))
            yield torch.stack([self.preprocess(Image.fromarray(pixels)) for pixels in drawn]), self.labels[part]


@dataclass(frozen=True)
class SymbolCaptions:
    """Images of the world with what can be said of each, for pre-training.

    They are composed once and kept, 7 kB each, so that drawing never holds training up.

    Attributes:
        source: as the user gave it.
        scenes: what is on each.
        pixels: how the model reads pixels; its size must be the world's.
    """

    source: str
    scenes: Scenes
    pixels: PixelSpace

    def __len__(self) -> int:
        return len(self.scenes)

    @cached_property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """One tuple of captions a level, each as long as there are images."""
        said = {
            combination: captions(*combination) for combination in set(zip(*_combination(self.scenes), strict=True))
        }
        rows = [said[combination] for combination in zip(*_combination(self.scenes), strict=True)]
        return tuple(zip(*rows, strict=True))

    @cached_property
    def sha256(self) -> str:
        """Of the pixels."""
        return hashlib.sha256(self._stored.numpy().tobytes()).hexdigest()

    def in_order(self, rows: Int[Tensor, " rows"], size: int) -> Iterator[Images]:
        """These rows as model input, ``size`` at a time, in this order."""
        for some in torch.split(rows, size):
            yield self.pixels.normalize(self._stored[some].float() / 255)

    @cached_property
    def _stored(self) -> UInt8[Tensor, "n 3 height width"]:
        return torch.from_numpy(drawn(self.scenes)).permute(0, 3, 1, 2).contiguous()


def open_symbols(source: str, *, preprocess: Preprocess, where: Mapping[str, str] | None = None) -> EvalData:
    """A split of the embedded world as held-out images.

    ``sha256`` is that of the pixels, as they are composed here and now.

    Args:
        source: ``symbols:SPLIT`` for members, ``symbols:SPLIT:groups`` for groups.
        preprocess: from a picture to model input.
        where: keeps the images that are so: a value for some of :data:`FIELDS`.

    Raises:
        InputError: If there is no such split, level, field or value.
    """
    split, level = parse(source)
    chosen = select(scenes(split), where or {})
    by_member = torch.from_numpy(chosen.member)
    labels = by_member if level == "members" else torch.tensor(GROUP_OF)[by_member]
    return EvalData(
        source=source,
        images=SymbolImages(chosen, labels, preprocess),
        class_names=MEMBERS if level == "members" else tuple(group.name for group in GROUPS),
        sha256=hashlib.sha256(drawn(chosen).tobytes()).hexdigest(),
        where=where or {},
        columns=columns(chosen),
    )


def columns(all_scenes: Scenes) -> dict[str, list[str]]:
    """What scenes can be told apart by: a value a scene for each of :data:`FIELDS`."""
    members, groups, colors, styles = MEMBERS, [group.name for group in GROUPS], list(COLORS), list(STYLES)
    member = all_scenes.member.tolist()
    return {
        "member": [members[i] for i in member],
        "group": [groups[GROUP_OF[i]] for i in member],
        "design": [design_names(i)[design] for i, design in zip(member, all_scenes.design.tolist(), strict=True)],
        "color": [colors[i] for i in all_scenes.color.tolist()],
        "style": [styles[i] for i in all_scenes.style.tolist()],
    }


def open_captioned_symbols(source: str, pixels: PixelSpace, without: Mapping[str, Sequence[str]]) -> SymbolCaptions:
    """A split of the embedded world with its captions.

    Args:
        source: ``symbols:SPLIT``.
        pixels: how the model reads pixels.
        without: what to leave out: ``classes`` are members; ``designs`` are written ``member/design``.

    Raises:
        InputError: If there is no such split, class or design, or the model's images have another size.
    """
    split, level = parse(source)
    if level != LEVELS[0]:
        raise InputError(f"{source!r}: captions name members and groups alike", hint=f"write {PREFIX}{split}")
    if (pixels.height, pixels.width) != (SIZE, SIZE):
        raise InputError(
            f"the model reads images of {pixels.height} x {pixels.width}, the world's have {SIZE} x {SIZE}",
            hint=f"pre-train on it with pixels.size = {SIZE}",
        )
    unknown = [kind for kind in without if kind not in KINDS]
    if unknown:
        raise InputError(f"{source!r} cannot leave out {unknown[0]!r}", hint=f"it can leave out {' and '.join(KINDS)}")
    everything = scenes(split)
    keep = np.ones(len(everything), bool)
    for member in without.get("classes", ()):
        keep &= ~matches(everything, "member", member)
    for drawing in without.get("designs", ()):
        member, slash, design = drawing.partition("/")
        if not slash:
            raise InputError(f"{drawing!r} names no design", hint="write it as member/design, such as knight/notation")
        keep &= ~(matches(everything, "member", member) & matches(everything, "design", design))
    return SymbolCaptions(source, everything.take(np.flatnonzero(keep)), pixels)


def parse(source: str) -> tuple[str, str]:
    """The split and the level that a name means.

    Raises:
        InputError: If it means none.
    """
    split, _, level = source.removeprefix(PREFIX).partition(":")
    level = level or LEVELS[0]
    for value, known, what in ((split, tuple(SPLITS), "split"), (level, LEVELS, "level")):
        if value not in known:
            raise InputError(f"{source!r}: there is no {what} {value!r}", hint=offer(value, known))
    return split, level


def select(all_scenes: Scenes, where: Mapping[str, str]) -> Scenes:
    """The scenes that are all of these.

    Raises:
        InputError: If a field or a value is unknown, or no scene is left.
    """
    keep = np.ones(len(all_scenes), bool)
    for field, value in where.items():
        keep &= matches(all_scenes, field, value)
    if not keep.any():
        raise InputError(f"no image is all of {dict(where)!r}", hint="a design belongs to the members of one group")
    return all_scenes.take(np.flatnonzero(keep))


def matches(all_scenes: Scenes, field: str, value: str) -> np.ndarray:
    """Whether each scene has this value in this field [n].

    Raises:
        InputError: If the field or the value is unknown.
    """
    if field not in FIELDS:
        raise InputError(f"images of the world have no {field!r}", hint=offer(field, FIELDS))
    if field == "design":
        known: tuple[str, ...] = tuple(dict.fromkeys(name for group in GROUPS for name in group.designs))
        rows = np.array([[name == value for name in design_names(member)] for member in range(len(MEMBERS))])
        found = rows[all_scenes.member, all_scenes.design]
    else:
        names = {
            "member": MEMBERS,
            "group": tuple(group.name for group in GROUPS),
            "color": tuple(COLORS),
            "style": tuple(STYLES),
        }
        known = names[field]
        column = np.array(GROUP_OF)[all_scenes.member] if field == "group" else getattr(all_scenes, field)
        found = column == (known.index(value) if value in known else -1)
    if value not in known:
        raise InputError(f"there is no {field} {value!r}", hint=offer(value, known))
    return np.asarray(found)


def drawn(all_scenes: Scenes) -> np.ndarray:
    """All images of some scenes [n, height, width, 3]."""
    rows = range(0, len(all_scenes), CHUNK)
    return np.concatenate([compose(all_scenes.take(slice(first, first + CHUNK))) for first in rows])


def _combination(all_scenes: Scenes) -> tuple[list[int], list[int], list[int]]:
    return all_scenes.member.tolist(), all_scenes.color.tolist(), all_scenes.style.tolist()
