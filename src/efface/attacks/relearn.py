"""Relearning: the last blocks of the image tower are trained for some steps, and what comes back is measured.

With few images of the class, among images of other classes, against the texts that the model itself has; with images of
other classes alone, against their texts; with images of no class, whose varied copies are to be alike. Each step draws
a batch; its loss is the cross-entropy of cosines times the model's own scale. The rows of all steps that are looked at
make a curve, and each row says what it cost: images of the class, steps, and how much of the other classes' accuracy.
The last one says too after how many steps half of what the model lacks to the reference was back.

The control is the class with the nearest text under a name that the model never learned: its features are whole, and
only the name is new. A class that comes back no faster was taught a name, as any can be, and not revived; whether its
features are whole too is told by gold, which never saw the class and is slower, and by attacks on features. What
training on the class alone would do tells nothing: every image would soon be given to it.

After "relearning" attacks on unlearned classifiers: Golatkar et al. 2020 (arXiv 1911.04933); on retain images alone:
Siddiqui et al. 2025 (arXiv 2505.22310). The trunk before the blocks runs once an image.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import BATCH, NEVER_LEARNED, REFERENCE, Asked, Role, Row, Trial
from efface.attacks.pictures import pictures
from efface.cut import CutTower
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import counted
from efface.functional.augment import varied
from efface.functional.recovery import steps_to_recovery
from efface.functional.similarity import accuracy, zero_shot_logits
from efface.methods.base import only_trainable
from efface.types import ClassFeatures, Images, Labels, Reporter, Scalar, TensorImages

OF_CLASS = 0.25
"""The share of a batch that is of the class that is taught."""
Pictures = Float[Tensor, "_ 3 height width"]
"""Model input."""
OTHERS = 128
"""Held-out images of other classes, at most, that tell what relearning costs them."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Relearn:
    """Trains the last blocks of the image tower for a few steps."""

    shots: tuple[int, ...] = Field(default=(1, 4, 16), min_length=1, description="images of the class, a try each")
    draws: int = Field(default=2, ge=1, description="how often these are drawn")
    retain_images: int = Field(default=256, ge=2, description="images of other classes")
    unrelated_images: int = Field(default=256, ge=2, description="images of no class")
    copies: int = Field(default=3, ge=0, description="varied copies of each image of the class")
    blocks: int = Field(default=2, ge=1, description="last blocks that move, and what follows them")
    steps: int = Field(default=16, ge=1, description="of AdamW")
    batch_size: int = Field(default=48, ge=8, description="images a step")
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW")

    name: ClassVar[str] = "relearn"
    summary: ClassVar[str] = "a few training steps on images of the class, of other classes, or of none"
    tells: ClassVar[str] = "the image tower still holds what it takes to know the class again"
    quick: ClassVar[bool] = False

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Trains copies of every model.

        Raises:
            NotTried: If the attacker has no images, or none of the class, the control or others.
            InputError: If the parts of an image tower are not known.
        """
        shown = _shown(self, asked, rng)
        seed = int(torch.randint(2**62, (), generator=rng))
        tries = len(asked.roles) * len(self.shots) * self.draws + 2
        rows: list[Row] = []
        with reporter.stage("relearning", len(asked.models) * tries) as advance:
            for called in asked.models:
                # Every model sees the same batches.
                rows += self.taught(asked, called, shown, seed, advance)
        return tuple(rows)

    def taught(
        self, asked: Asked, called: str, shown: "Shown", seed: int, advance: Callable[[int], None]
    ) -> tuple[Row, ...]:
        """What one of the models comes to; it depends on no other but the reference."""
        return tuple(_Student(self, asked, called, shown, seed).rows(advance))

    def looked_at(self) -> tuple[int, ...]:
        """The steps after which it is measured: powers of two, and the last."""
        return tuple(step for step in range(1, self.steps + 1) if step & (step - 1) == 0 or step == self.steps)


@plain_dataclass(frozen=True, slots=True)
class Shown:
    """The images, as model input.

    Attributes:
        own: of both classes and each draw, the images that were drawn, then all of them once more a copy.
        others: of other classes.
        unrelated: of no class, and a varied copy of each.
        tested: held-out images of both classes.
        tested_others: held-out images of other classes.
    """

    own: Mapping[Role, tuple[Pictures, ...]]
    others: TensorImages
    unrelated: tuple[Pictures, Pictures]
    tested: Mapping[Role, Pictures]
    tested_others: TensorImages


def _shown(settings: Relearn, asked: Asked, rng: torch.Generator) -> Shown:
    space, roles = asked.models[REFERENCE].encoder.pixels, dict(asked.roles)

    def copy(images: Images) -> Images:
        return space.normalize(varied(space.denormalize(images).clamp(0, 1), rng=rng))

    def taught(label: int) -> Images:
        images = pictures(asked.attackers(), asked.among, (label,), most=max(settings.shots), rng=rng).images
        return torch.cat([images, *(copy(images) for _ in range(settings.copies))])

    def held_out(labels: tuple[int, ...], most: int) -> TensorImages:
        return pictures(asked.held_out, asked.among, labels, most=most, rng=rng)

    unrelated = torch.cat([images.cpu() for images, _ in asked.unrelated.batches(BATCH)])[: settings.unrelated_images]
    return Shown(
        own={role: tuple(taught(label) for _ in range(settings.draws)) for role, label in roles.items()},
        others=pictures(asked.attackers(), asked.among, asked.others, most=settings.retain_images, rng=rng),
        unrelated=(unrelated, copy(unrelated)),
        tested={role: held_out((label,), len(asked.held_out.images)).images for role, label in roles.items()},
        tested_others=held_out(asked.others, OTHERS),
    )


Point = tuple[float, float]
"""The share of the class's images that is given to it, and the share of the others' that is right."""
Loss = Callable[[torch.Generator], Scalar]


class _Student:
    """A copy of a model that is taught, and put back after each try."""

    def __init__(self, settings: Relearn, asked: Asked, called: str, shown: Shown, seed: int) -> None:
        clip = asked.models[called].copy()
        self.settings, self.asked, self.called, self.seed = settings, asked, called, seed
        self.model, self.labels = clip.encoder, dict(asked.roles)
        self.tower = CutTower(clip.encoder, settings.blocks)
        device, encode = clip.encoder.device, self.tower.activations
        self.own = {role: [encode(images) for images in draws] for role, draws in shown.own.items()}
        self.others, self.other_labels = encode(shown.others.images), shown.others.labels.to(device)
        self.unrelated = [encode(images) for images in shown.unrelated]
        self.tested = {role: encode(images) for role, images in shown.tested.items()}
        self.tested_others, self.tested_labels = (
            encode(shown.tested_others.images),
            shown.tested_others.labels.to(device),
        )
        known = asked.texts(called).to(device)
        renamed = known.clone()
        tokens = clip.class_tokens([texts(asked.templates, NEVER_LEARNED)])
        renamed[self.labels["control"]] = encode_classes(clip.encoder, tokens)[0]
        self.classes: Mapping[Role, ClassFeatures] = {"forget": known, "control": renamed}

    def rows(self, advance: Callable[[int], None]) -> Iterator[Row]:
        """What comes back after each number of steps, by each way to train."""
        before = {role: self.measured(role) for role in self.labels}
        for role, (recall, _) in before.items():
            yield Trial(Relearn.name, "no steps", "measure").mean(self.called, role, recall, len(self.tested[role]))
        whole = _by_reference(self.asked)
        for k in self.settings.shots:
            for role in self.labels:
                curves = [
                    self.curve(self.on_class(role, k, draw), (role,), advance)[role]
                    for draw in range(self.settings.draws)
                ]
                yield from self.written(
                    f"k = {k}", min(k, self.images_of(role)), role, curves, (before[role], whole[role])
                )
        for called, loss in (("retain images only", self.on_others()), ("unrelated images", self.on_nothing())):
            curve = self.curve(loss, tuple(self.labels), advance)
            for role in self.labels:
                yield from self.written(called, 0, role, [curve[role]], (before[role], whole[role]))

    def written(
        self, called: str, images: int, role: Role, curves: Sequence[Mapping[int, Point]], before: tuple[Point, float]
    ) -> Iterator[Row]:
        """A row a point of the curve, the mean of those of the draws.

        Args:
            called: the way to train.
            images: of the class.
            role: whose images are measured.
            curves: one a draw.
            before: how the model answered before, and how the reference does.
        """
        (lost, others_before), whole = before
        points = {step: tuple(zip(*(curve[step] for curve in curves), strict=True)) for step in curves[0]}
        back = steps_to_recovery({step: _mean(recalls) for step, (recalls, _) in points.items()}, whole, lost)
        for step, (recalls, others) in points.items():
            cost: dict[str, float | int | str] = {"images": images, "steps": step}
            cost["change of other classes"] = round(_mean(others) - others_before, 4)
            if step == max(points):
                cost["steps to half of what was lost"] = "more" if back is None else back
            trial = Trial(Relearn.name, f"{called}, {counted(step, 'step')}", "training", cost)
            yield trial.over_draws(self.called, role, recalls, len(self.tested[role]))

    def curve(
        self, loss: Loss, roles: Sequence[Role], advance: Callable[[int], None]
    ) -> Mapping[Role, Mapping[int, Point]]:
        """Trains the last blocks, measures now and then, and puts the weights back."""
        rng = torch.Generator().manual_seed(self.seed)
        found: dict[Role, dict[int, Point]] = {role: {} for role in roles}
        with only_trainable(self.model.module, self.tower.groups()) as weights:
            before = [weight.detach().clone() for weight in weights]
            optimizer = torch.optim.AdamW(weights, lr=self.settings.learning_rate, weight_decay=0.0)
            for step in range(1, self.settings.steps + 1):
                optimizer.zero_grad()
                loss(rng).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if step in self.settings.looked_at():
                    for role in roles:
                        found[role][step] = self.measured(role)
            with torch.no_grad():
                for weight, value in zip(weights, before, strict=True):
                    weight.copy_(value)
        advance(1)
        return found

    def measured(self, role: Role) -> Point:
        """How the model answers now, with the texts of that role."""
        classes, label = self.classes[role], self.labels[role]
        own, others = (
            (self.tower.all_features(images) @ classes.T).argmax(dim=1)
            for images in (self.tested[role], self.tested_others)
        )
        return accuracy(own, torch.full_like(own, label)), accuracy(others, self.tested_labels)

    def images_of(self, role: Role) -> int:
        """How many images a draw has of the class."""
        return len(self.own[role][0]) // (1 + self.settings.copies)

    def on_class(self, role: Role, k: int, draw: int) -> Loss:
        """The cross-entropy of some images of the class and others, among all texts."""
        count = round(OF_CLASS * self.settings.batch_size)
        of_class, label = self.own[role][draw], self.labels[role]
        mine = of_class[torch.arange(len(of_class)) % self.images_of(role) < k]

        def loss(rng: torch.Generator) -> Scalar:
            first, rest = _drawn(mine, count, rng), _drawn(self.others, self.settings.batch_size - count, rng)
            labels = torch.cat([torch.full((count,), label, device=mine.device), self.other_labels[rest]])
            return self.misfit(torch.cat([mine[first], self.others[rest]]), self.classes[role], labels)

        return loss

    def on_others(self) -> Loss:
        """The cross-entropy of images of other classes, among the texts of these alone."""
        present, labels = torch.unique(self.other_labels, return_inverse=True)
        known = self.classes["forget"][present]

        def loss(rng: torch.Generator) -> Scalar:
            rows = _drawn(self.others, self.settings.batch_size, rng)
            return self.misfit(self.others[rows], known, labels[rows])

        return loss

    def on_nothing(self) -> Loss:
        """The cross-entropy of images of no class, each among the copies of all of a batch."""
        images, copies = self.unrelated

        def loss(rng: torch.Generator) -> Scalar:
            rows = _drawn(images, self.settings.batch_size // 2, rng)
            labels = torch.arange(len(rows), device=images.device)
            return self.misfit(images[rows], self.tower.features(copies[rows]), labels)

        return loss

    def misfit(self, activations: Tensor, classes: ClassFeatures, labels: Labels) -> Scalar:
        """The cross-entropy of images that are to be told apart."""
        scale = self.model.logit_scale.detach()
        return F.cross_entropy(zero_shot_logits(self.tower.features(activations), classes, scale), labels)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _drawn(images: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Rows of images, with replacement."""
    return torch.randint(len(images), (count,), generator=rng).to(images.device)


def _by_reference(asked: Asked) -> Mapping[Role, float]:
    """The share of the held-out images of either class that the reference gives to it, by its own name."""
    labels = asked.labels("held_out")
    found = (asked.features(REFERENCE, "held_out", "final") @ asked.texts(REFERENCE).T).argmax(dim=1)
    return {role: accuracy(found[labels == row], labels[labels == row]) for role, row in asked.roles}
