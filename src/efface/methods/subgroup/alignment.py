"""Images brought near to what a network was trained on, by the statistics of what enters its normalisations.

BatchNorm keeps these statistics of its pre-training. Where a tower has none, those of LayerNorm's inputs on a pool of
images take their place; a tower with neither has nothing to align with.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efface.functional.statistics import Statistics, channel_statistics, merged, statistics_distance
from efface.methods.base import only_trainable
from efface.types import DualEncoder, Images

Norm = _BatchNorm | nn.LayerNorm
AT_ONCE = 16 * 224 * 224
"""Pixels, in images times height times width, that go forward and backward at a time."""


def norms(model: DualEncoder) -> list[Norm]:
    """The normalisations that the image tower runs: its BatchNorms, or where it has none its LayerNorms."""
    found: list[Norm] = []
    pixels = model.pixels
    with torch.no_grad(), _watching(_all_norms(model), lambda norm, _: found.append(norm)):
        model.embed_image(torch.zeros((1, 3, pixels.height, pixels.width), device=model.device))
    by_batch: list[Norm] = [norm for norm in found if isinstance(norm, _BatchNorm)]
    return by_batch or found


def stored_statistics(norm: Norm) -> Statistics:
    """What a BatchNorm layer keeps of its training.

    Raises:
        ValueError: If it keeps nothing, as a LayerNorm does not.
    """
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"a {type(norm).__name__} keeps no statistics")
    return Statistics(norm.running_mean.float(), (norm.running_var.float() + norm.eps).sqrt())


def statistics_of(model: DualEncoder, chosen: Sequence[Norm], images: Images) -> list[Statistics]:
    """The statistics of what enters some normalisations, in their order, for a batch; gradients flow."""
    found: dict[int, Statistics] = {}

    def note(norm: Norm, hidden: Tensor) -> None:
        found[id(norm)] = channel_statistics(hidden.float(), 1 if isinstance(norm, _BatchNorm) else -1, norm.eps)

    with _watching(chosen, note):
        model.embed_image(images)
    return [found[id(norm)] for norm in chosen]


@torch.no_grad()
def wanted_statistics(model: DualEncoder, chosen: Sequence[Norm], pool: Iterator[Images]) -> list[Statistics]:
    """What to align with: what BatchNorms keep, else what the inputs of LayerNorms are on a pool of images.

    Args:
        model: only read.
        chosen: its normalisations.
        pool: batches of images; not looked at where there are BatchNorms.
    """
    if isinstance(chosen[0], _BatchNorm):
        return [stored_statistics(norm) for norm in chosen]
    batches = [(statistics_of(model, chosen, images.to(model.device)), len(images)) for images in pool]
    return _together([found for found, _ in batches], [count for _, count in batches])


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far images may be moved, and by how many steps.

    Attributes:
        each: of each pixel, in units of [0, 1].
        steps: of Adam.
        rate: of Adam, in the same units.
    """

    each: float
    steps: int
    rate: float


@dataclass(frozen=True, slots=True)
class Aligned:
    """A batch after alignment.

    Attributes:
        images: model input; of all that Adam came by those whose statistics are the nearest.
        before: the distance of its statistics before.
        after: and after, at most as large.
    """

    images: Images
    before: float
    after: float


def aligned(
    model: DualEncoder,
    chosen: Sequence[Norm],
    wanted: Sequence[Statistics],
    images: Images,
    how: Bounds,
    advance: Callable[[int], None] = lambda _: None,
) -> Aligned:
    r"""A batch plus the perturbation that brings its statistics nearest to the wanted ones.

    ``min_delta sum_l ||mu_l(x + delta) - m_l|| + ||sigma_l(x + delta) - s_l||`` with ``|delta|`` bounded in each pixel
    and ``x + delta`` in [0, 1] (arXiv 2506.03117, the reminding stage; step, number and bound are ours). By Adam, whose
    step does not depend on the scale of the distance; after each one the perturbation is brought back into its bounds.
    The nearest of all that it came by is the result. Images go through in parts of :data:`AT_ONCE` pixels, which bounds
    the memory; more than one part costs one more forward pass a step.

    Args:
        model: whose statistics; only read.
        chosen: its normalisations.
        wanted: the statistics of each to come near to.
        images: a batch of several, whose statistics are taken together.
        how: how far and by how many steps.
        advance: told of every step.
    """
    space = model.pixels
    pixels = space.denormalize(images).clamp(0, 1)
    moved = pixels.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([moved], lr=how.rate)
    low, high = (pixels - how.each).clamp_min(0), (pixels + how.each).clamp_max(1)
    nearest = pixels
    distances: list[float] = []
    with only_trainable(model.module, []):
        for step in range(how.steps + 1):
            last = step == how.steps
            distance, slope = _distance(model, chosen, wanted, moved.detach(), with_slope=not last)
            if not distances or distance < min(distances):
                nearest = moved.detach().clone()
            distances.append(distance)
            if not last:
                moved.grad = slope
                optimizer.step()
                with torch.no_grad():
                    moved.copy_(moved.clamp(low, high))
                advance(1)
    return Aligned(space.normalize(nearest), distances[0], min(distances))


def _distance(
    model: DualEncoder, chosen: Sequence[Norm], wanted: Sequence[Statistics], pixels: Tensor, *, with_slope: bool
) -> tuple[float, Tensor | None]:
    """The distance of a batch from the wanted statistics, and its slope: exact, though a part goes through at a time.

    An image enters the statistics of all through those of its part alone, so that the other parts' are constants.
    """
    parts = torch.split(pixels, max(1, AT_ONCE // pixels[0, 0].numel()))
    counts = [len(part) for part in parts]
    found: list[list[Statistics]] = []
    if len(parts) > 1 or not with_slope:
        with torch.no_grad():
            found = [statistics_of(model, chosen, model.pixels.normalize(part)) for part in parts]
    if not with_slope:
        return statistics_distance(_together(found, counts), wanted).item(), None
    slopes: list[Tensor] = []
    for number, part in enumerate(parts):
        part = part.clone().requires_grad_(True)
        own = statistics_of(model, chosen, model.pixels.normalize(part))
        total = statistics_distance(_together([*found[:number], own, *found[number + 1 :]], counts), wanted)
        slopes += torch.autograd.grad(total, part)
    return total.item(), torch.cat(slopes)


def _together(parts: Sequence[Sequence[Statistics]], counts: Sequence[int]) -> list[Statistics]:
    """The statistics of each normalisation for all parts of a batch."""
    return [merged(of_one, counts) for of_one in zip(*parts, strict=True)]


def _all_norms(model: DualEncoder) -> list[Norm]:
    return [module for module in model.module.modules() if isinstance(module, _BatchNorm | nn.LayerNorm)]


@contextmanager
def _watching(chosen: Sequence[Norm], note: Callable[[Norm, Tensor], None]) -> Iterator[None]:
    """Notes what enters normalisations, each time that one runs."""

    def noted(norm: nn.Module, args: tuple[Any, ...]) -> None:
        note(norm, args[0])  # type: ignore[arg-type]  # hooks are put on normalisations alone

    handles = [norm.register_forward_pre_hook(noted) for norm in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
