r"""Forget: the first stage of ``subgroup``. Images of one kind no longer lead to their class; others stay.

Two objectives. ``cosine``, the published one, lowers the mean cosine of the images with their text,

    L = mean_i <f(x_i), g(t_i)>,

until few of them are answered with it. ``handover``, ours, teaches the image tower the reference's own features, moved
in closed form until the best other class leads (:mod:`efface.functional.handover`). ``hold`` adds the squared distance
of the images that are to stay to what the reference made of them.

What moves is a share of the layers of the image tower, those with the largest relative Fisher information, as a change
of low rank, or whole. What they start from is computed once an image.

Zhang et al., CVPR 2025 (arXiv 2506.03117); what they leave open is in docs/methods/subgroup.md.
"""

from dataclasses import dataclass as plain_dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Int
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.cut import CutTower
from efface.encoding import encode_classes
from efface.errors import counted
from efface.functional.handover import distance_loss
from efface.functional.leaves import dead_leaves
from efface.functional.similarity import pair_cosine
from efface.methods.base import Batch
from efface.methods.course import Course, whole
from efface.methods.subgroup.answers import Meanings, meanings, share_left
from efface.methods.subgroup.layers import chosen_layers, depth_of, is_same, layers, pairs, same_layers
from efface.methods.subgroup.low_rank import adapted, write_
from efface.methods.subgroup.sides import Side, encoded, handed_over
from efface.seeds import draw_seed, seeded
from efface.types import (
    Checkpoint,
    ClassFeatures,
    DualEncoder,
    Features,
    ForgetData,
    Needs,
    Reporter,
    Scalar,
    Step,
    Trace,
    Unkept,
    WeightGroup,
    Within,
)


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Forget:
    """Images of one kind are parted from their text; what is to stay can be held meanwhile."""

    images: int = Field(default=64, ge=1, description="images of what is to be forgotten")
    retain_images: int = Field(default=200, ge=0, description="images of what is to stay")
    objective: Literal["handover", "cosine"] = Field(
        default="handover", description="towards the second choice, or as published away from the text"
    )
    prompt: str | None = Field(
        default=None,
        pattern=r"^[^{}]*\{\}[^{}]*$",
        description="text to part images from, with the objective cosine; none: the class texts",
    )
    strength: float = Field(
        default=0.8, ge=0, description="what the second choice is to lead by, in times of how far the class stands out"
    )
    hold: float = Field(default=4.0, ge=0, description="weight of what is to stay, in this stage")
    leaves: int = Field(default=400, ge=0, description="random images of shapes that are to stay too")
    forget_copies: int = Field(default=6, ge=0, description="varied copies of each image to forget")
    copies: int = Field(default=2, ge=0, description="varied copies of each image or shape that is to stay")
    mixed: float = Field(default=0.6, ge=0, le=1, description="share of the copies to stay that mix two images")
    blocks: int = Field(default=2, ge=0, description="last blocks of the image tower that may move; 0: all of it")
    share: float = Field(default=1.0, gt=0, le=1, description="of its layers, by relative Fisher information")
    fisher_images: int = Field(default=32, ge=1, description="images of each side to find that by")
    rank: int = Field(default=0, ge=0, description="of the change of a weight (LoRA); 0: the whole weight moves")
    alpha: int = Field(default=16, ge=1, description="of LoRA: the change counts this over the rank")
    steps: int = Field(default=200, ge=1, description="of AdamW, at most")
    every: int = Field(default=50, ge=1, description="steps a round, after which the images are looked at")
    until: Literal["steps", "goal"] = Field(
        default="steps",
        description="all steps, at a rate that falls to 0 by a cosine; or until the goal is met",
    )
    batch_size: int = Field(default=32, ge=1, description="images to forget a step")
    retain_batch_size: int = Field(default=96, ge=1, description="images to stay a step")
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW in the first step")
    stop_accuracy: float = Field(default=0.02, ge=0, lt=1, description="the goal: images still answered with the class")

    summary: ClassVar[str] = "images of one kind are parted from their class (the first stage of subgroup)"

    @field_validator("prompt")
    @classmethod
    def _counts(cls, prompt: str | None, settings: Any) -> str | None:
        if prompt is not None and settings.data.get("objective") == "handover":
            raise ValueError("no prompt counts with the objective handover, which leads away from the class texts")
        return prompt

    @property
    def needs(self) -> Needs:
        """Images of what is to be forgotten, and of what is to stay."""
        return Needs(forget_images=self.images, retain_images=self.retain_images, prompt=self.prompt)

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
        """Trains the chosen layers on a copy, and writes what came of it into the model at the end."""
        if data.forget is None:
            raise ValueError("forgetting needs images of what is to be forgotten: see its needs")
        checkpoint, of = checkpoint or Unkept(), meanings(data)
        # What is drawn before the first step is drawn again when a run goes on, wherever it stands.
        known = checkpoint.take() or {"seed": draw_seed(rng), "done": 0, "trained": None, "part": None}
        setup = seeded(known["seed"], rng.device)
        classes = encode_classes(reference, data.class_tokens)
        texts = _texts(reference, data, classes)
        chosen = self._chosen(reference, data, (texts, classes), setup, reporter)
        taught = CutTower(reference, depth_of(reference, chosen))
        # An edit before this one may have moved what comes before the cut: each tower runs its own trunk.
        tower = taught if is_same(model, reference) else CutTower(model, taught.depth)
        forget, stay = _sides(self, tower, taught, data, classes, setup, reporter)
        copy = adapted(model, same_layers(model, chosen), self.rank, self.alpha, rng=setup)
        if known["trained"] is not None:
            copy.load_(known["trained"])
        falls = self.until == "steps"
        course = Course("forgetting, steps", self.steps, self.every, self.learning_rate, falls, rng, known["done"])
        run = _Run(self, CutTower(copy.encoder, tower.depth), forget, stay, classes, of, course)
        noted = Within(
            checkpoint,
            known["part"],
            lambda: {"seed": known["seed"], "done": course.done, "trained": copy.state()},
        )
        steps = course.fit_(copy.parameters, run.batch, run.loss, run.judge, reporter, noted)
        write_(model, copy.weights())
        return self._trace(steps, chosen)

    def _chosen(
        self,
        reference: DualEncoder,
        data: ForgetData,
        texts: tuple[ClassFeatures, ClassFeatures],
        rng: torch.Generator,
        reporter: Reporter,
    ) -> list[WeightGroup]:
        """The layers that move, of the reference: by the texts of images to forget, and of those to stay."""
        candidates = layers(reference, self.blocks)
        if self.share == 1:
            return candidates
        sides = (data.forget, data.guard if data.retain is None else data.retain)
        forget, stay = (pairs(*of, self.fisher_images, rng=rng) for of in zip(sides, texts, strict=True))
        total = sum(min(self.fisher_images, len(images)) for images in sides if images is not None)
        with reporter.stage("choosing layers, images", total) as advance:
            return chosen_layers(reference, candidates, forget, stay, self.share, advance)

    def _trace(self, steps: list[Step], chosen: list[WeightGroup]) -> Trace:
        left = float(steps[-1]["accuracy"])  # type: ignore[arg-type]
        reached = left <= self.stop_accuracy
        only = "" if reached else f" only, not to {self.stop_accuracy:.1%},"
        reason = f"the accuracy on the images to forget fell to {left:.1%}{only} in {counted(len(chosen), 'layer')}"
        named: Step = {**steps[0], "layers": [layer.name for layer in chosen]}
        return Trace((named, *steps[1:]), reached=reached, reason=reason)


def _sides(  # noqa: PLR0913 (all that they are made of)
    s: Forget,
    tower: CutTower,
    taught: CutTower,
    data: ForgetData,
    classes: ClassFeatures,
    rng: torch.Generator,
    reporter: Reporter,
) -> tuple[Side, Side | None]:
    """What is to be forgotten, and what is to stay: None where nothing holds it."""
    model, space = taught.model, taught.model.pixels
    forget, labels = whole([data.forget] if data.forget else [], model.device)
    held = [images for images in (data.retain, data.guard) if images is not None and s.hold]
    kept, kept_labels = whole(held, model.device) if held else (forget[:0], labels[:0])
    parts = [kept] if held else []
    if s.hold and s.leaves:
        parts.append(space.normalize(dead_leaves(s.leaves, space.height, space.width, rng=rng)))
    stay = torch.cat(parts) if parts else None
    total = (1 + s.forget_copies) * len(forget) + (0 if stay is None else (1 + s.copies) * len(stay))
    with reporter.stage("encoding images and their copies", total) as advance:
        through = partial(encoded, tower, taught, rng=rng, advance=advance)
        activations, features = through(forget, s.forget_copies, 0.0)
        side = Side(activations, _partners(s, model, data, features, labels, classes), labels)
        if stay is None:
            return side, None
        return side, Side(*through(stay, s.copies, s.mixed), kept_labels)


def _partners(
    s: Forget,
    model: DualEncoder,
    data: ForgetData,
    features: Features,
    labels: Int[Tensor, " images"],
    classes: ClassFeatures,
) -> Tensor:
    """Of each row of the images to forget, what its features are to be, or the text to part from."""
    if s.objective == "handover":
        return handed_over(features, labels, classes, meanings(data), s.strength)
    return _texts(model, data, classes)[labels].repeat(len(features) // len(labels), 1)


@torch.no_grad()
def _texts(model: DualEncoder, data: ForgetData, classes: ClassFeatures) -> ClassFeatures:
    """What images to forget are parted from: the class texts, of the targets those of the training prompt, if any."""
    if data.prompt_tokens is None:
        return classes
    rows = torch.tensor(data.targets, device=classes.device)
    return classes.index_copy(0, rows, model.encode_text(data.prompt_tokens.to(model.device)))


@plain_dataclass(frozen=True, slots=True)
class _Run:
    """What the loop's hooks share."""

    settings: Forget
    tower: CutTower
    forget: Side
    stay: Side | None
    classes: ClassFeatures
    of: Meanings
    course: Course

    def batch(self) -> Batch:
        """What the tail starts from, and the rows that it is of: those to forget first."""
        drawn = [(self.forget, self.course.draw(0, len(self.forget.partners), self.settings.batch_size))]
        if self.stay is not None:
            drawn.append((self.stay, self.course.draw(0, len(self.stay.partners), self.settings.retain_batch_size)))
        return torch.cat([side.activations[rows] for side, rows in drawn]), torch.cat([rows for _, rows in drawn])

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        activations, rows = batch
        s, features = self.settings, self.tower.features(activations)
        n, partners = s.batch_size, self.forget.partners[rows[: s.batch_size]]
        parted = pair_cosine if s.objective == "cosine" else distance_loss
        terms = {"forget": parted(features[:n], partners)}
        if self.stay is not None:
            terms["stay"] = s.hold * distance_loss(features[n:], self.stay.partners[rows[n:]])
        return terms

    def judge(self) -> tuple[bool, Step]:
        labels = self.forget.labels
        forget = self.tower.all_features(self.forget.activations[: len(labels)])
        accuracy = share_left((forget @ self.classes.T).argmax(dim=1), labels, self.of)
        notes: Step = {"accuracy": accuracy, **self.agreement()}
        return self.settings.until == "goal" and accuracy <= self.settings.stop_accuracy, notes

    def agreement(self) -> dict[str, float]:
        """The share of images to stay that are answered as before, where there are any."""
        count = 0 if self.stay is None else len(self.stay.labels)
        if self.stay is None or not count:
            return {}
        now, before = self.tower.all_features(self.stay.activations[:count]), self.stay.partners[:count]
        same = (now @ self.classes.T).argmax(dim=1) == (before @ self.classes.T).argmax(dim=1)
        return {"retain_agreement": same.double().mean().item()}
