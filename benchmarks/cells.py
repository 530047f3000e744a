"""What the benchmarks of methods share: answers image by image, kept a line a finished cell; and intervals."""

import argparse
import json
import shlex
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.images import Chosen, StoredImages
from efface.data.prompts import texts
from efface.evaluation.zero_shot import Answers, answer
from efface.functional.metrics import mean_paired_change
from efface.request import TEMPLATES
from efface.synthesis import preset_synthesizer
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthesizer
from efface.types import DualEncoder, Features, Images, Silent, TensorImages

efface_version = version("efface")
TEN = str(Path(__file__).parent / "gold" / "symbols-{tower}-without-ten-seed*")
"""Models of the embedded world that were trained without ten classes, one a tower: see pretrain/README.md."""
DRAWS = 2000
AT_ONCE = 16
"""Attempts at images that the published synthesis makes side by side, which are decided as one after the other."""
Bits = np.ndarray[Any, np.dtype[np.bool_]]
Cell = dict[str, Any]
T = TypeVar("T")


def half(data: EvalData, odd: bool) -> EvalData:
    """The images whose index within their class is odd (half B) or even (half A)."""
    rows, images = half_of(data, odd), data.images
    if not isinstance(images, StoredImages):
        raise TypeError(f"expected stored images, got {type(images).__name__}")
    chosen = Chosen(images.rows, tuple(rows.tolist()))
    return replace(data, images=replace(images, rows=chosen, labels=images.labels[rows]))


def half_of(data: EvalData, odd: bool) -> Int[Tensor, " rows"]:
    """The rows of the images whose index within their class is odd, or even."""
    seen: Counter[int] = Counter()
    kept = []
    for row, label in enumerate(data.images.labels.tolist()):
        if seen[label] % 2 == odd:
            kept.append(row)
        seen[label] += 1
    return torch.tensor(kept)


def in_memory(data: EvalData) -> EvalData:
    """The same with all images decoded."""
    parts = list(data.images.batches(256))
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return replace(data, images=TensorImages(images, labels))


def synthesis_of(preset: str) -> Synthesizer:
    """The synthesis of a preset; the published one takes less long so."""
    found = preset_synthesizer(preset)
    return replace(found, at_once=AT_ONCE) if isinstance(found, GradientAscent) else found


class Remembering:
    """A model that encodes each image once of those that are held in memory: a base is asked for every cell."""

    def __init__(self, encoder: DualEncoder, held: TensorImages) -> None:
        self._encoder, self._held = encoder, held
        self._known: dict[tuple[int, int], Features] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_image(self, images: Images) -> Features:
        """The features of a part of the held images, which is known by where it lies."""
        held = self._held.images.untyped_storage().data_ptr()
        if images.untyped_storage().data_ptr() != held:  # a copy, whose place says nothing
            return self._encoder.encode_image(images)
        place = images.data_ptr(), len(images)
        if place not in self._known:
            self._known[place] = self._encoder.encode_image(images)
        return self._known[place]


@cache
def remembering(encoder: DualEncoder, held: TensorImages) -> DualEncoder:
    """The base, made to remember; both are kept for good."""
    return Remembering(encoder, held)


def ask(base: LoadedCLIP, edited: LoadedCLIP | None, data: EvalData, targets: tuple[int, ...]) -> Answers:
    """Where the right class came in, under each pair of towers."""
    tokens = base.class_tokens([texts(TEMPLATES, name) for name in data.class_names])
    held = data.images
    asked: DualEncoder = base.encoder
    if isinstance(held, TensorImages):
        asked = remembering(base.encoder, held)  # type: ignore[arg-type]  # a protocol does not say that it has a hash
    models = (asked, None if edited is None else edited.encoder)
    return answer(models, data, tokens, targets=targets, batch_size=256, reporter=Silent())


def right_by_class(clip: LoadedCLIP, data: EvalData) -> list[int]:
    """How many images of each class the model gets right."""
    found = ask(clip, None, data, ())
    return [int((found.ranks["before"][found.labels == k] == 0).sum()) for k in range(len(data.class_names))]


def spread(ordered: Sequence[T], each: int) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """The first, the middle and the last ``each`` of some; an even number."""
    middle = len(ordered) // 2
    return ordered[:each], ordered[middle - each // 2 : middle + each // 2], ordered[-each:]


def interleaved(names: Sequence[T], each: int) -> tuple[T, ...]:
    """Things of three sorts, ``each`` of each, in turn."""
    return tuple(chain.from_iterable(zip(*(names[part * each : (part + 1) * each] for part in range(3)), strict=True)))


def bits(right: torch.Tensor) -> str:
    """Right or wrong, an image each, as hexadecimal text."""
    return np.packbits(right.numpy()).tobytes().hex()


def unbits(text: str, n: int) -> Bits:
    """The inverse of :func:`bits`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:n].astype(bool)


def read_cells(path: Path) -> list[Cell]:
    """The finished cells; a line that was cut off is left out."""
    cells = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            cells.append(json.loads(line))
        except ValueError:
            print(f"a line of {path} was cut off and is left out")
    return cells


def append(path: Path, found: Cell) -> None:
    """Writes a finished cell on a line of its own, also after one that was cut off."""
    is_cut = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if is_cut else "") + json.dumps(found) + "\n")


@cache
def resampled(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """How often each of ``n`` images is drawn in each draw of a bootstrap.

    Counts instead of indices, and the same for all: one draw of images serves all classes, whatever split of them is
    asked about.
    """
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float32)


def mean_change(found: list[tuple[Bits, Bits, Bits]], rng: np.random.Generator) -> tuple[float, ...]:
    """Mean before, mean after, mean change and its interval, in percent.

    A bootstrap over images and seeds: one draw of images serves all classes, which share some of them. It has no width
    where none or all of the images changed; so the interval reaches as far at least as that of one seed does in the
    mean, a class each by Newcombe's paired interval.

    Args:
        found: of each class which images count, who was right before, and after (a row a seed).
        rng: of the bootstrap, which draws the seeds.
    """
    means = (
        np.mean([before[rows].mean() for rows, before, _ in found]),
        np.mean([after[:, rows].mean() for rows, _, after in found]),
    )
    change = means[1] - means[0]
    draws = np.zeros(DRAWS)
    for rows, before, after in found:
        changes = (after.astype(np.float32) - before)[:, rows]
        counts = resampled(len(rows))[:, rows]
        of_seeds = counts @ changes.T / np.maximum(counts.sum(axis=1), 1)[:, None]
        seeds = rng.integers(0, len(after), (DRAWS, len(after)))
        draws += np.take_along_axis(of_seeds, seeds, axis=1).mean(axis=1) / len(found)
    low, high = np.quantile(draws, [0.025, 0.975])
    below, above = by_one_seed(found)
    low, high = min(low, change - below), max(high, change + above)
    return tuple(100 * float(v) for v in (*means, change, max(-1.0, low), min(1.0, high)))


def by_one_seed(found: list[tuple[Bits, Bits, Bits]]) -> tuple[float, float]:
    """How far the interval of the mean change reaches below and above it, a mean over seeds; shares, not percent."""
    reach = []
    for seed in range(max(len(after) for _, _, after in found)):
        mine = [(rows, before, after[seed % len(after)]) for rows, before, after in found]
        pairs = [(torch.from_numpy(before[rows]), torch.from_numpy(after[rows])) for rows, before, after in mine]
        change, low, high = mean_paired_change(pairs)
        reach.append((change - low, high - change))
    below, above = np.mean(reach, axis=0)
    return float(below), float(above)


def command_of(script: str, parser: argparse.ArgumentParser, asked: argparse.Namespace, names: Sequence[str]) -> str:
    """The command that asks for the same, without what is as it is by default; a switch that is on by its name.

    Args:
        script: its name.
        parser: of its options.
        asked: what they were.
        names: those of them that change what is in the table.
    """
    given = {name: getattr(asked, name) for name in names if getattr(asked, name) != parser.get_default(name)}
    words = [f"--{name}" if value is True else f"--{name} {_written(value)}" for name, value in given.items()]
    gold = ["--gold ..."] if asked.gold != parser.get_default("gold") else []
    return " ".join(["python", f"benchmarks/{script}", *words, *gold])


def _written(value: object) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check(keys: Sequence[str], cells: Sequence[Cell], count: int, make: Callable[[str], tuple[str, Cell]]) -> int:
    """Makes some finished cells again; 1 if one ends on other weights than it did.

    Args:
        keys: of all cells that are asked for.
        cells: those that are finished.
        count: how many to make, drawn at random.
        make: from a key to what the cell is called, and the cell.
    """
    whole = [c for c in cells if "weights" in c and c["key"] in keys]
    changed = 0
    for number in np.random.default_rng(0).permutation(len(whole))[:count]:
        called, again = make(whole[number]["key"])
        same = again.get("weights") == whole[number]["weights"]
        print(f"{called}: {'the same weights' if same else 'OTHER WEIGHTS'}", flush=True)
        changed += not same
    return int(changed > 0)


def recall(found: Sequence[Cell], model: str, role: str, layer: str, shots: int) -> tuple[int, int]:
    """Test images that probes give to a class, a mean over draws and models made whole, and how many there are.

    Models that were asked of the same images are no more images.
    """
    asked = (role, layer, shots)
    mine = [one for one in found if (one["role"], one["layer"], one["shots"]) == asked]
    mine = [one for one in mine if one["model"].startswith(model)]
    return round(float(np.mean([one["value"] for one in mine])) * mine[0]["n"]), mine[0]["n"]


def has(found: Sequence[Cell], model: str) -> bool:
    """Whether probes of such a model are among these."""
    return any(one["model"].startswith(model) for one in found)


def gold_models(pattern: str) -> Iterator[tuple[LoadedCLIP, Mapping[str, tuple[str, ...]]]]:
    """Models that were trained without some classes or designs, from the folders of their training; and what they lack.

    Args:
        pattern: of the folders' paths.
    """
    place = Path(pattern)
    for folder in sorted(place.parent.glob(place.name)):
        if folder.is_dir():
            recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
            without = {kind: tuple(names) for kind, names in recipe["data"]["without"].items()}
            yield efface.load(str(folder / "model")), without
