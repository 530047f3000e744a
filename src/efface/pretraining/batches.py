"""Which images and which texts a step sees: a function of seed and step alone, so that nothing depends on history."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from efface.data.captions import CaptionedImages
from efface.errors import InputError
from efface.functional.contrastive import positives
from efface.types import Images, Tokens

TOKENIZED = 4096


@dataclass(frozen=True, slots=True)
class Share:
    """Which process this is, of how many."""

    index: int = 0
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process gets in one step.

    Attributes:
        images: this process's images.
        tokens: this process's share of the different texts of the whole batch; the last may be there again, so that
            each process has equally many.
        positive: which text is whose, over the images of all processes and the texts of all, without the repeated.
    """

    images: Float[Tensor, "own 3 height width"]
    tokens: Int[Tensor, "part context"]
    positive: Bool[Tensor, "batch texts"]


@dataclass(frozen=True, slots=True)
class Texts:
    """The captions of all images as tokens, each different text once.

    Attributes:
        tokens: one row a different text; in 32 bits, as there may be millions.
        levels: the rows of the captions of all images, a level each.
    """

    tokens: Int32[Tensor, "texts context"]
    levels: tuple[Int[Tensor, " images"], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which images and level come when.

    Attributes:
        images: how many there are.
        batch_size: over all processes.
        steps: in all.
        seed: of the recipe.
        levels: of captions, that steps draw from.
        first_levels: the same for the first steps.
        first_steps: how many steps these are.
        shift: by how many pixels an image may be moved, in both directions.
    """

    images: int
    batch_size: int
    steps: int
    seed: int
    levels: tuple[int, ...] = (0,)
    first_levels: tuple[int, ...] = ()
    first_steps: int = 0
    shift: int = 0

    @property
    def each_epoch(self) -> int:
        """Steps an epoch; what does not fill a batch waits for the next epoch's order."""
        return self.images // self.batch_size

    def order(self, epoch: int) -> Int[Tensor, "steps batch"]:
        """The images of each step of an epoch, every image at most once."""
        rng = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        rows = torch.randperm(self.images, generator=rng)[: self.each_epoch * self.batch_size]
        return rows.view(self.each_epoch, self.batch_size)

    def level(self, step: int) -> int:
        """The level that a step takes its captions from."""
        levels = self.first_levels if step < self.first_steps else self.levels
        return levels[derived_seed(self.seed, "level", step) % len(levels)]

    def moves(self, step: int) -> Int[Tensor, "batch 2"]:
        """By how many pixels each image of a step is moved down and to the right, from -shift to shift."""
        rng = torch.Generator().manual_seed(derived_seed(self.seed, "shift", step))
        return torch.randint(-self.shift, self.shift + 1, (self.batch_size, 2), generator=rng)


def schedule(images: int, *, batch_size: int, steps: int, epochs: int, seed: int) -> Schedule:
    """A schedule for a number of steps, or else of epochs.

    Raises:
        InputError: If there are fewer images than a batch needs.
    """
    if images < batch_size:
        raise InputError(f"{images} images do not fill a batch of {batch_size}", hint="lower training.batch_size")
    return Schedule(images, batch_size, steps or epochs * (images // batch_size), seed)


def derived_seed(seed: int, *what: str | int) -> int:
    """A seed in [0, 2**63) for one use, independent of those for others."""
    text = " ".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def tokenized(levels: Sequence[Sequence[str]], tokenize: Callable[[Sequence[str]], Tokens]) -> Texts:
    """The captions as tokens.

    Args:
        levels: lists of captions, each with one caption an image.
        tokenize: texts to token ids.
    """
    numbers: dict[str, int] = {}
    rows = tuple(
        torch.tensor([numbers.setdefault(caption, len(numbers)) for caption in captions]) for captions in levels
    )
    different = list(numbers)
    chunks = [different[first : first + TOKENIZED] for first in range(0, len(different), TOKENIZED)]
    return Texts(torch.cat([tokenize(chunk).to(torch.int32) for chunk in chunks]), rows)


def batches(plan: Schedule, images: CaptionedImages, texts: Texts, *, first: int, share: Share) -> Iterator[Batch]:
    """The batches of one process, from step ``first`` on to the last.

    Args:
        plan: which images and level come when.
        images: where they come from.
        texts: their captions.
        first: the step to begin with, counted from 0.
        share: which part of each batch is this process's; the batch size must be a multiple of the processes.

    Raises:
        InputError: If an image cannot be decoded.
    """
    part = plan.batch_size // share.processes
    step = first
    while step < plan.steps:
        epoch, place = divmod(step, plan.each_epoch)
        order = plan.order(epoch)[place : place + plan.steps - step]
        own = order[:, share.index * part : (share.index + 1) * part].reshape(-1)
        # One pass an epoch, so that workers read ahead from step to step.
        for rows, pixels in zip(order, images.in_order(own, part), strict=True):
            if plan.shift:
                pixels = moved(pixels, plan.moves(step)[share.index * part : (share.index + 1) * part])
            level = texts.levels[plan.level(step)][rows]
            different = torch.unique(level)
            yield Batch(pixels, texts.tokens[_dealt(different, share)].long(), positives(level, different))
            step += 1


def moved(images: Images, by: Int[Tensor, "batch 2"]) -> Images:
    """Each image moved down and to the right by whole pixels; its border is repeated into what becomes free."""
    height, width = images.shape[-2:]
    reach = int(by.abs().max())
    wide = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    starts = (reach - by).tolist()
    return torch.stack(
        [one[:, top : top + height, left : left + width] for one, (top, left) in zip(wide, starts, strict=True)]
    )


def _dealt(rows: Int[Tensor, " texts"], share: Share) -> Int[Tensor, " part"]:
    """This process's part of the texts, the last text repeated until all parts are equally long."""
    part = -(-len(rows) // share.processes)
    places = torch.arange(share.index * part, (share.index + 1) * part)
    return rows[places.clamp(max=len(rows) - 1)]
