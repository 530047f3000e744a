r"""Remind: the second stage of ``subgroup``. An edited model learns anew what it is to keep, from images of that.

The images are first brought near to the statistics of pre-training (:mod:`efface.methods.subgroup.alignment`). On
these, ``x_i`` with class text ``t_i``,

    L = a L_clip(f, G) + b mean_i ||f(x_i) - f_0(x_i)||^2 + c mean_i KL(p_0(x_i) || p(x_i))
        + d mean_j ||f(z_j) - f_1(z_j)||^2

is minimised: the contrastive loss, in which many images share a text; distillation from the reference ``f_0`` of image
features and of rows of similarities to all class texts; and, ours, images to forget ``z_j`` held where this stage found
them, with features ``f_1``. The layers that differ from the reference move again, and the weights at the end are an
average along the way. BatchNorm's own statistics never move.

Zhang et al., CVPR 2025 (arXiv 2506.03117); what they leave open is in docs/methods/subgroup.md.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.cut import BATCH, CutTower
from efface.encoding import encode_classes
from efface.errors import EffaceWarning
from efface.functional.contrastive import clip_loss, positives
from efface.functional.distillation import row_divergence
from efface.functional.handover import distance_loss
from efface.functional.leaves import dead_leaves
from efface.methods.base import Batch
from efface.methods.course import Course, whole
from efface.methods.subgroup.alignment import Bounds, aligned, norms, wanted_statistics
from efface.methods.subgroup.answers import Meanings, meanings, share_left
from efface.methods.subgroup.average import Average, Kind
from efface.methods.subgroup.layers import depth_of, moved_layers
from efface.methods.subgroup.low_rank import Adapted, adapted, write_
from efface.seeds import draw_seed, seeded
from efface.types import (
    Checkpoint,
    ClassFeatures,
    DualEncoder,
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

POOL = 256
"""Random images of shapes, whose statistics stand for pre-training where there are no images for that."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Remind:
    """An edited model learns anew, from aligned images and from the reference, what it is to keep."""

    retain_images: int = Field(default=200, ge=0, description="images of what is to stay; without any, nothing is done")
    bound: float = Field(default=8 / 255, ge=0, le=1, description="of what aligns an image, in each pixel of [0, 1]")
    align_steps: int = Field(default=20, ge=0, description="of Adam, to align a batch of images; 0: as they are")
    align_rate: float = Field(default=2 / 255, gt=0, description="of that Adam, in units of [0, 1]")
    align_batch: int = Field(default=100, ge=2, description="images whose statistics are taken together, about")
    contrastive: float = Field(default=1.0, ge=0, description="weight of the contrastive loss")
    features: float = Field(default=1.0, ge=0, description="weight of the distance of features to the reference's")
    rows: float = Field(default=1.0, ge=0, description="weight of the divergence of similarities from the reference's")
    forgotten: float = Field(default=1.0, ge=0, description="weight of holding forgotten images where they are")
    rank: int = Field(default=0, ge=0, description="of the change of a weight (LoRA); 0: the whole weight moves")
    alpha: int = Field(default=16, ge=1, description="of LoRA: the change counts this over the rank")
    steps: int = Field(default=50, ge=1, description="of AdamW")
    every: int = Field(default=25, ge=1, description="steps a round, after which the images are looked at")
    batch_size: int = Field(default=64, ge=1, description="images to stay a step, and half as many forgotten ones")
    learning_rate: float = Field(default=1e-4, gt=0, description="of AdamW")
    average: Kind = Field(
        default="ema", description="of the weights: exponential, CLIPood's by the Beta distribution, or the last ones"
    )
    decay: float = Field(default=0.99, ge=0, lt=1, description="of the exponential average, a step")
    beta: float = Field(default=0.5, gt=0, le=10, description="of the Beta distribution, both its parameters")

    summary: ClassVar[str] = "an edited model learns anew what it is to keep (the second stage of subgroup)"

    @property
    def needs(self) -> Needs:
        """Images of what is to stay."""
        return Needs(forget_images=64 if self.forgotten else 0, retain_images=self.retain_images)

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
        """Trains the layers that differ from the reference on a copy, and writes what came of it into the model."""
        kept, moved = [one for one in (data.retain, data.guard) if one is not None], moved_layers(model, reference)
        if not kept or not moved:
            return _nothing("there are no images of what is to stay" if moved else "no layer of the image tower moved")
        checkpoint = checkpoint or Unkept()
        known = checkpoint.take() or {"seed": draw_seed(rng), "done": 0, "trained": None, "average": None, "part": None}
        setup = seeded(known["seed"], rng.device)
        images, labels = whole(kept, model.device)
        # Sets are often stored class by class, and the statistics of pre-training are those of no class.
        order = torch.randperm(len(labels), generator=setup, device=setup.device)
        labels = labels[order]
        images, found = self._aligned(reference, data, images[order], setup, reporter)
        copy = adapted(model, moved, self.rank, self.alpha, rng=setup)
        average = Average(self.average, copy, self.steps, self.decay, self.beta)
        if known["trained"] is not None:
            copy.load_(known["trained"])
            average.load_(known["average"])
        course = Course("reminding, steps", self.steps, self.every, self.learning_rate, False, rng, known["done"])
        tower = CutTower(model, depth_of(model, moved))
        run = _run(self, copy, course, tower, reference, data, (images, labels))
        noted = Within(
            checkpoint,
            known["part"],
            lambda: {
                "seed": known["seed"],
                "done": course.done,
                "trained": copy.state(),
                "average": average.state(),
            },
        )
        steps = course.fit_(
            copy.parameters,
            run.batch,
            run.loss,
            run.judge,
            reporter,
            noted,
            after_step=lambda: average.add(course.done),
        )
        write_(model, average.weights)
        last = run.measured(tower)
        reason = f"of the images to stay {last['retain_agreement']:.1%} are answered as before"
        return Trace(({**steps[0], **found}, *steps[1:], last), reached=True, reason=reason)

    def _aligned(
        self, reference: DualEncoder, data: ForgetData, images: Images, rng: torch.Generator, reporter: Reporter
    ) -> tuple[Images, Step]:
        """The images near the statistics of pre-training, and how near; as they are where there is nothing to align."""
        if not self.align_steps or not self.bound:
            return images, {}
        chosen = norms(reference)
        if not chosen:
            text = "the image tower has neither BatchNorm nor LayerNorm: images to stay are not aligned"
            warnings.warn(text, EffaceWarning, stacklevel=2)
            return images, {}
        wanted = wanted_statistics(reference, chosen, _pool(reference.pixels, data, rng))
        parts = torch.tensor_split(images, math.ceil(len(images) / self.align_batch))
        with reporter.stage("aligning, steps", self.align_steps * len(parts)) as advance:
            how = Bounds(self.bound, self.align_steps, self.align_rate)
            found = [aligned(reference, chosen, wanted, part, how, advance) for part in parts]
        distance = {
            "distance_before": sum(one.before for one in found) / len(found),
            "distance_aligned": sum(one.after for one in found) / len(found),
        }
        return torch.cat([one.images for one in found]), distance


def _pool(space: PixelSpace, data: ForgetData, rng: torch.Generator) -> Iterator[Images]:
    """Images whose statistics stand for pre-training, in batches; shapes are painted only if they are looked at."""
    pool = next((one for one in (data.pool, data.calibration, data.guard) if one is not None), None)
    if pool is not None:
        yield from (batch for batch, _ in pool.batches(BATCH))
    else:
        yield from torch.split(space.normalize(dead_leaves(POOL, space.height, space.width, rng=rng)), BATCH)


def _nothing(why: str) -> Trace:
    """A stage that had nothing to do."""
    warnings.warn(f"reminding was left out: {why}", EffaceWarning, stacklevel=3)
    return Trace(({"left_out": why},), reached=True, reason=f"reminding was left out: {why}")


@plain_dataclass(frozen=True, slots=True)
class _Taught:
    """Images, and the features that they are to have.

    Attributes:
        activations: what the tail starts from, an image a row.
        features: of the reference for images to stay, of the model as this stage found it for those forgotten.
        labels: rows of the classes.
    """

    activations: Tensor
    features: Tensor
    labels: Labels


@plain_dataclass(frozen=True, slots=True)
class _Run:
    """What the loop's hooks share."""

    settings: Remind
    tower: CutTower
    course: Course
    stay: _Taught
    forgotten: _Taught | None
    classes: ClassFeatures
    scale: Scalar
    of: Meanings

    def batch(self) -> Batch:
        """What the tail starts from, and the rows that it is of: those to stay first."""
        size = self.settings.batch_size
        drawn = [(self.stay, self.course.draw(0, len(self.stay.labels), size))]
        if self.forgotten is not None and self.settings.forgotten:
            rows = self.course.draw(0, len(self.forgotten.labels), math.ceil(size / 2))
            drawn.append((self.forgotten, rows))
        return torch.cat([of.activations[rows] for of, rows in drawn]), torch.cat([rows for _, rows in drawn])

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        """The terms that have a weight."""
        s, n, features = self.settings, self.settings.batch_size, self.tower.features(batch[0])
        rows, now = batch[1][:n], features[:n]
        taught, labels = self.stay.features[rows], self.stay.labels[rows]
        terms: dict[str, Scalar] = {}
        if s.contrastive:
            texts = torch.unique(labels)
            loss = clip_loss(now, self.classes[texts], self.scale, positives(labels, texts))
            terms["contrastive"] = s.contrastive * loss
        if s.features:
            terms["features"] = s.features * distance_loss(now, taught)
        if s.rows:
            terms["rows"] = s.rows * row_divergence(now, taught, self.classes, self.scale)
        if self.forgotten is not None and len(features) > n:
            terms["forgotten"] = s.forgotten * distance_loss(features[n:], self.forgotten.features[batch[1][n:]])
        return terms

    def judge(self) -> tuple[bool, Step]:
        """Never the last round before its time."""
        return False, self.measured(self.tower)

    def measured(self, tower: CutTower) -> dict[str, float]:
        """How many images to stay are answered as before, and how many to forget with their class again."""

        def answers(features: Tensor) -> Labels:
            return (features @ self.classes.T).argmax(dim=1)

        same = answers(tower.all_features(self.stay.activations)) == answers(self.stay.features)
        found = {"retain_agreement": same.double().mean().item()}
        if self.forgotten is not None:
            forgotten = answers(tower.all_features(self.forgotten.activations))
            found["accuracy"] = share_left(forgotten, self.forgotten.labels, self.of)
        return found


def _run(  # noqa: PLR0913 (all that it is made of)
    settings: Remind,
    copy: Adapted,
    course: Course,
    tower: CutTower,
    reference: DualEncoder,
    data: ForgetData,
    stay: tuple[Images, Labels],
) -> _Run:
    """The loop's hooks for a model that is cut, and images to stay with their labels."""
    classes = encode_classes(reference, data.class_tokens)
    taught = CutTower(reference, tower.depth)
    # An edit of another kind may have moved norms before the cut: each tower runs its own trunk.
    wanted = taught.all_features(taught.activations(stay[0]))
    forgotten = None
    if data.forget is not None:
        images, labels = whole([data.forget], tower.model.device)
        start = tower.activations(images)
        forgotten = _Taught(start, tower.all_features(start), labels)
    return _Run(
        settings,
        CutTower(copy.encoder, tower.depth),
        course,
        _Taught(tower.activations(stay[0]), wanted, stay[1]),
        forgotten,
        classes,
        reference.logit_scale.detach(),
        meanings(data),
    )
