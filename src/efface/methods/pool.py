"""What :class:`~efface.methods.reassign.Reassign` trains on, and what it is taught."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from efface.cut import BATCH, CutTower
from efface.encoding import encode_classes
from efface.functional.augment import varied
from efface.functional.handover import reassigned, sure_lead
from efface.functional.leaves import dead_leaves
from efface.methods.course import whole
from efface.types import ClassFeatures, DualEncoder, Features, ForgetData, Images, Labels, PixelSpace, Reporter

HELD = 8
"""One in so many guard images is not trained on: it tells what the guard is worth."""
FEW = 4
"""Of a class with fewer guard images nothing is said: one image more or less would be a third of them."""


class Judged(NamedTuple):
    """How an edited tower answers.

    Attributes:
        accuracy: the share of the images of the class that are given to it, or to another class that is to go; of
            several names, that of the one of which most are.
        agreement: the share answered as before, of the surer half of the guard held back; 1 where there is none.
        kept: of the guard images that the reference answers with one class, the share answered as before, for the
            class that keeps least; see :func:`least_kept`. Most of them are trained on.
        classes: of how many classes that can be said.
    """

    accuracy: float
    agreement: float
    kept: float
    classes: int


@dataclass(frozen=True, slots=True)
class Pool:
    """What is trained and judged on: what the tail starts from, and the reference's features there.

    Attributes:
        activations: of the images of the class, then of the guard, copies included.
        features: the reference's, of the same.
        forget: how many of the rows are of the class.
        labels: of those of these that are images as they are, which come first.
        guard: how many of the rows after these are guard images as they are, leaves not counted.
        held: activations of the guard that is held back.
        held_guard: how many of these are guard images; they come first.
        before: the class that each of the guard held back was answered with.
        lead: by how much, in cosines.
        classes: one unit vector a class.
        targets: rows of the classes that are to go.
        sure_lead: by how much they lead on their images, see :func:`~efface.functional.handover.sure_lead`.
    """

    activations: Tensor
    features: Features
    forget: int
    labels: Tensor
    guard: int
    held: Tensor
    held_guard: int
    before: Tensor
    lead: Tensor
    classes: ClassFeatures
    targets: tuple[int, ...]
    sure_lead: float

    def wanted(self, strength: float) -> Features:
        """The features that are taught.

        Args:
            strength: what the second choice of an image of the class is to lead by, in times of :attr:`sure_lead`.
        """
        of_class, of_guard = self.features[: self.forget], self.features[self.forget :]
        return torch.cat(
            [
                reassigned(of_class, self.classes, self.targets, strength * self.sure_lead),
                # What among the guard is taken for the class goes too, but no farther than it must.
                reassigned(of_guard, self.classes, self.targets, 0.0),
            ]
        )

    def judge(self, tower: CutTower, classes: ClassFeatures | None = None) -> Judged:
        """How the tower answers.

        Args:
            tower: the edited one.
            classes: by other texts than the reference's.
        """
        texts = self.classes if classes is None else classes
        end = self.forget + self.guard
        shown = (self.activations[: len(self.labels)], self.activations[self.forget : end], self.held)
        # At once, as a tower may not take an empty batch, and there need not be images of a guard.
        answers = (tower.all_features(torch.cat(shown)) @ texts.T).argmax(dim=1)
        forget, taught, guard = torch.split(answers, [len(rows) for rows in shown])
        targets = torch.tensor(self.targets, device=forget.device)
        # Most of these are trained on: that they stay says little, that they fall says much.
        known = (self.features[self.forget : end] @ self.classes.T).argmax(dim=1)
        n = self.held_guard
        kept = least_kept(torch.cat([known, self.before[:n]]), torch.cat([taught, guard[:n]]), self.targets)
        # What the reference hardly tells from the next class says little, and what it takes for the class may change.
        sure = (self.lead >= self.lead.median()) & ~torch.isin(self.before, targets)
        agreement = (guard == self.before)[sure].float().mean().item() if sure.any() else 1.0
        is_given = torch.isin(forget, targets)
        # Each name is to go: one of ten could stay, and the mean would still be small.
        accuracy = max(is_given[self.labels == row].float().mean().item() for row in set(self.labels.tolist()))
        return Judged(accuracy, agreement, *kept)


def least_kept(before: Labels, now: Labels, targets: tuple[int, ...]) -> tuple[float, int]:
    """Of the images answered with one class before, the share that still are, for the class that keeps least.

    Unsure answers count too: a class of few sure images would else be left out, and is to stay as well.

    Args:
        before: what each image was answered with.
        now: and is answered with.
        targets: classes that are not looked at.

    Returns:
        That in [0, 1], 1 where no class but the targets has :data:`FEW` images; and how many have.
    """
    found = [now[before == row] == row for row in set(before.tolist()) - set(targets)]
    shares = [stay.float().mean().item() for stay in found if len(stay) >= FEW]
    return min(shares, default=1.0), len(shares)


def pool_of(  # noqa: PLR0913 (all that it is made of)
    tower: CutTower,
    data: ForgetData,
    *,
    leaves: int,
    copies: int,
    mixed: float,
    rng: torch.Generator,
    reporter: Reporter,
) -> Pool:
    """Images of the class, the guard and dead leaves through the trunk of the reference, with varied copies.

    Args:
        tower: the reference's.
        data: with images of the class.
        leaves: how many dead leaves.
        copies: varied copies of each image.
        mixed: the share of the guard's copies that mix two images.
        rng: on the model's device.
        reporter: told how far it is.
    """
    if data.forget is None:
        raise ValueError("Reassign needs images of the class: see its needs")
    model = tower.model
    space, device = model.pixels, model.device
    classes = encode_classes(model, data.class_tokens)
    forget, labels = whole([data.forget], device)
    guard, shapes = _guard(model, data, leaves, rng)
    # At random: by turns, whole classes would be held back, as those of the guard come round.
    is_held = _drawn(len(guard) + len(shapes), rng)
    n = len(guard)
    taught, back = (torch.cat([guard[mask[:n]], shapes[mask[n:]]]) for mask in (~is_held, is_held))
    held_guard = int(is_held[:n].sum())
    of_class, of_guard = (len(images) * (1 + copies) for images in (forget, taught))
    with reporter.stage("encoding images and their copies", of_class + of_guard + len(back)) as advance:
        shown = itertools.chain(
            _with_copies(forget, space, copies, 0.0, rng), _with_copies(taught, space, copies, mixed, rng)
        )
        activations = _encoded(tower, shown, of_class + of_guard, advance)
        held = _encoded(tower, torch.split(back, BATCH), len(back), advance)
    features = tower.all_features(activations)
    best = (tower.all_features(held) @ classes.T).topk(2, dim=1)
    lead = best.values[:, 0] - best.values[:, 1]
    by = sure_lead(features[: len(forget)], classes, data.targets, model.logit_scale).item()
    return Pool(
        activations,
        features,
        of_class,
        labels,
        n - held_guard,
        held,
        held_guard,
        best.indices[:, 0],
        lead,
        classes,
        data.targets,
        by,
    )


def _guard(model: DualEncoder, data: ForgetData, leaves: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images of other classes, and dead leaves."""
    space = model.pixels
    shapes = space.normalize(dead_leaves(leaves, space.height, space.width, rng=rng))
    others = [] if data.guard is None else [images.to(model.device) for images, _ in data.guard.batches(BATCH)]
    return torch.cat([shapes[:0], *others]), shapes


def _drawn(count: int, rng: torch.Generator) -> Tensor:
    """Which of so many are held back."""
    is_held = torch.zeros(count, dtype=torch.bool, device=rng.device)
    is_held[torch.randperm(count, generator=rng, device=rng.device)[::HELD]] = True
    return is_held


def _with_copies(images: Images, space: PixelSpace, copies: int, mix: float, rng: torch.Generator) -> Iterator[Images]:
    """The images as they are, then every varied copy of them, in parts of :data:`~efface.cut.BATCH`."""
    yield from torch.split(images, BATCH)
    for _ in range(copies):
        # Those of a part are mixed with each other: in a new order each time, so that any two may be.
        order = torch.randperm(len(images), generator=rng, device=rng.device)
        for rows in torch.split(order, BATCH):
            pixels = space.denormalize(images[rows]).clamp(0, 1)
            yield space.normalize(varied(pixels, rng=rng, mix=mix))


def _encoded(tower: CutTower, parts: Iterable[Images], count: int, advance: Callable[[int], None]) -> Tensor:
    """What the tail starts from for ``count`` images, in one place from the first part on: it is most of the memory."""
    found, done = torch.empty(0), 0
    for part in parts:
        rows = tower.activations(part)
        found = found if done else rows.new_empty((count, *rows.shape[1:]))
        found[done : done + len(rows)] = rows
        done += len(rows)
        advance(len(rows))
    return found
