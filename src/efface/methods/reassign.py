r"""Reassign: where the class leads, hand the image over to the class that comes second; leave all else as it is.

The edited image tower is taught by the reference itself, corrected in closed form: of an image whose first choice is
the class, with the text ``t_1``, and whose second is another, with ``t_2``,

    f' = f - (m + d) (t_1 - t_2) / ||t_1 - t_2||^2,        m = f.(t_1 - t_2),

scaled to unit length: now the second leads by ``d``. Of any other image ``f' = f``. ``d`` is ``strength`` times
what the class leads by now, weighted with how sure the model is. The loss is the squared
distance to that, on two kinds of images made by the model itself: images of the class, and a guard that stands for all
that is to stay: images of the nearest and of random other classes, and dead leaves, random shapes of no class. Only the
last blocks move; what they start from is computed once for each image and some varied copies of it, so that a step
costs the last blocks alone.

The default of ``lip`` (Kravets and Namboodiri, WACV 2025, arXiv 2407.07485): it keeps their setting, a name and nothing
else, their synthetic images and their stop on the accuracy on these, and puts this loss in the place of theirs, which
has nothing that holds the other classes. docs/methods/lip.md says what was tried.
Use when only a name is at hand. Weak when the images that the model makes of the class are far from real ones.
Cost: a forward pass for each image and copy; a forward and backward pass of the last blocks a step and image.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from efface.cut import BATCH, CutTower
from efface.encoding import encode_classes
from efface.functional.augment import varied
from efface.functional.handover import distance_loss, reassigned, sure_lead
from efface.functional.leaves import dead_leaves
from efface.methods.base import Batch, Hooks, Verdict, fit_, only_trainable
from efface.types import (
    Checkpoint,
    DualEncoder,
    Features,
    ForgetData,
    Images,
    Labels,
    Needs,
    PixelSpace,
    Reporter,
    Scalar,
    Step,
    Trace,
    Unkept,
    Within,
)

ROUND = 50
HELD = 8
"""One in so many guard images is not trained on: it tells what the guard is worth."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Reassign:
    """Images of the class are handed over to their second choice, and a guard holds the rest."""

    images: int = Field(default=192, ge=1, description="images of the class to work on")
    guard_images: int = Field(default=512, ge=0, description="images of other classes that hold the rest")
    leaves: int = Field(default=1536, ge=8, description="random images of shapes that hold the rest")
    copies: int = Field(default=3, ge=0, description="varied copies of each image")
    mixed: float = Field(default=0.6, ge=0, le=1, description="share of the guard's copies that mix two images")
    strength: float = Field(
        default=3.3, ge=0, description="what the second choice is to lead by, in times of what the class leads by now"
    )
    blocks: int = Field(default=1, ge=1, description="last blocks of the image tower that move, and what follows them")
    steps: int = Field(default=200, ge=1, description="of AdamW, in rounds of fifty")
    batch_size: int = Field(default=48, ge=1, description="images of the class a step")
    guard_batch_size: int = Field(default=192, ge=1, description="images of the guard a step")
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW in the first step; a cosine takes it to 0")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW")
    stop_accuracy: float = Field(default=0.1, ge=0, lt=1, description="the goal: accuracy on the images of the class")
    guard_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="and the share answered as before, of the surer half of guard images not trained on",
    )

    summary: ClassVar[str] = "synthetic images of the class handed over to their second choice, a synthetic guard"

    @property
    def needs(self) -> Needs:
        """Images of the class and of others."""
        return Needs(forget_images=self.images, guard_images=self.guard_images)

    def edit_(
        self,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
    ) -> Trace:
        """Trains the last blocks of the image tower towards the reassigned features of the reference."""
        checkpoint = checkpoint or Unkept()
        # What is drawn for the pool is drawn again when a run goes on, wherever it stands.
        known = checkpoint.take() or {"seed": _draw_seed(rng), "done": 0, "part": None}
        pool_rng = torch.Generator(device=rng.device).manual_seed(known["seed"])
        pool = _pool(self, reference, data, pool_rng, reporter)
        tower = CutTower(model, self.blocks)
        run = _Run(self, tower, pool, rng, known["done"])
        within = Within(checkpoint, known["part"], lambda: {"seed": known["seed"], "done": run.done})
        with only_trainable(model.module, tower.groups()) as weights:
            steps = run.fit_(weights, reporter, within)
        accuracy, agreement = float(steps[-1]["accuracy"]), float(steps[-1]["guard_agreement"])  # type: ignore[arg-type]
        reason = (
            f"accuracy on the images of the class is {accuracy:.3g}, "
            f"{agreement:.3g} of the surer half of the guard held back is answered as before"
        )
        reached = accuracy <= self.stop_accuracy and agreement >= self.guard_agreement
        return Trace(tuple(steps), reached=reached, reason=reason)


def _draw_seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=rng, device=rng.device))


@dataclass(frozen=True, slots=True, config={"arbitrary_types_allowed": True})
class _Pool:
    """What is trained and judged on: what the tail starts from, and the reference's features there.

    Attributes:
        activations: of the images of the class, then of the guard, copies included.
        wanted: the features that are taught.
        forget: how many of the rows are of the class.
        judged: activations of the images of the class without copies, and of the guard that is held back.
        before: the class that each of the guard held back was answered with.
        lead: by how much, in cosines.
        classes: one unit vector a class.
        targets: rows of the classes that are to go.
    """

    activations: Tensor
    wanted: Tensor
    forget: int
    judged: tuple[Tensor, Tensor]
    before: Tensor
    lead: Tensor
    classes: Tensor
    targets: tuple[int, ...]


def _pool(
    settings: Reassign, reference: DualEncoder, data: ForgetData, rng: torch.Generator, reporter: Reporter
) -> _Pool:
    if data.forget is None:
        raise ValueError("Reassign needs images of the class: see its needs")
    tower, space, device = CutTower(reference, settings.blocks), reference.pixels, reference.device
    classes = encode_classes(reference, data.class_tokens)
    forget = torch.cat([images.to(device) for images, _ in data.forget.batches(BATCH)])
    taught, back = _guard(settings, reference, data, rng)
    of_class, of_guard = (len(images) * (1 + settings.copies) for images in (forget, taught))
    with reporter.stage("encoding images and their copies", of_class + of_guard + len(back)) as advance:
        shown = itertools.chain(
            _with_copies(forget, space, settings.copies, 0.0, rng),
            _with_copies(taught, space, settings.copies, settings.mixed, rng),
        )
        activations = _encoded(tower, shown, of_class + of_guard, advance)
        kept = _encoded(tower, torch.split(back, BATCH), len(back), advance)
    features = _features(tower, activations)
    lead_now = sure_lead(features[: len(forget)], classes, data.targets, reference.logit_scale).item()
    wanted = torch.cat(
        [
            reassigned(features[:of_class], classes, data.targets, settings.strength * lead_now),
            # What among the guard is taken for the class goes too, but no farther than it must.
            reassigned(features[of_class:], classes, data.targets, 0.0),
        ]
    )
    best = (_features(tower, kept) @ classes.T).topk(2, dim=1)
    before, lead = best.indices[:, 0], best.values[:, 0] - best.values[:, 1]
    judged = (activations[: len(forget)], kept)
    return _Pool(activations, wanted, of_class, judged, before, lead, classes, data.targets)


def _guard(settings: Reassign, reference: DualEncoder, data: ForgetData, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is taught of the guard, and what is held back of it."""
    space, device = reference.pixels, reference.device
    shapes = space.normalize(dead_leaves(settings.leaves, space.height, space.width, rng=rng))
    others = [] if data.guard is None else [images.to(device) for images, _ in data.guard.batches(BATCH)]
    guard = torch.cat([*others, shapes])
    held = torch.zeros(len(guard), dtype=torch.bool, device=device)
    held[::HELD] = True
    return guard[~held], guard[held]


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


@torch.no_grad()
def _features(tower: CutTower, activations: Tensor) -> Features:
    return torch.cat([tower.features(part) for part in torch.split(activations, BATCH)])


@plain_dataclass(slots=True)
class _Run:
    settings: Reassign
    tower: CutTower
    pool: _Pool
    rng: torch.Generator
    done: int

    def fit_(self, weights: list[nn.Parameter], reporter: Reporter, checkpoint: Checkpoint) -> list[Step]:
        s = self.settings
        optimizer = torch.optim.AdamW(weights, lr=self.rate, weight_decay=s.weight_decay)
        with reporter.stage("handing over, steps", s.steps) as advance:
            advance(self.done)

            def after_step() -> bool:
                self.done += 1
                for group in optimizer.param_groups:
                    group["lr"] = self.rate
                advance(1)
                return False

            hooks = Hooks(after_step=after_step, end_of_round=self.judge)
            rounds = math.ceil(s.steps / ROUND)
            return fit_(optimizer, self.batches, self.loss, hooks, rounds=rounds, checkpoint=checkpoint)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * (1 + math.cos(math.pi * self.done / self.settings.steps)) / 2

    def batches(self) -> Iterator[Batch]:
        """The rows of a round, drawn with replacement: those of the class first."""
        s, pool = self.settings, self.pool
        for _ in range(min(ROUND, s.steps - self.done)):
            of_class = self.draw(0, pool.forget, s.batch_size)
            rows = torch.cat([of_class, self.draw(pool.forget, len(pool.wanted), s.guard_batch_size)])
            yield pool.activations[rows], rows

    def draw(self, first: int, end: int, count: int) -> Labels:
        return torch.randint(first, end, (count,), generator=self.rng, device=self.rng.device)

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        activations, rows = batch
        features, wanted, n = self.tower.features(activations), self.pool.wanted[rows], self.settings.batch_size
        return {"class": distance_loss(features[:n], wanted[:n]), "guard": distance_loss(features[n:], wanted[n:])}

    def judge(self, _number: int) -> Verdict:
        pool = self.pool
        forget, guard = ((_features(self.tower, rows) @ pool.classes.T).argmax(dim=1) for rows in pool.judged)
        targets = torch.tensor(pool.targets, device=forget.device)
        # What the reference hardly tells from the next class says little, and what it takes for the class may change.
        sure = (pool.lead >= pool.lead.median()) & ~torch.isin(pool.before, targets)
        agreement = (guard == pool.before)[sure].float().mean().item() if sure.any() else 1.0
        accuracy = torch.isin(forget, targets).float().mean().item()
        return Verdict(keep=True, stop=False, notes={"accuracy": accuracy, "guard_agreement": agreement})
