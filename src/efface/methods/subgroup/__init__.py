r"""Subgroup: forget images of one kind within a class, remind the model of the rest, restore what need not have moved.

Three stages, each a method of its own:

1. *forget* (:mod:`~efface.methods.subgroup.forget`): the images no longer lead to their class;
2. *remind* (:mod:`~efface.methods.subgroup.remind`): the model learns anew what is to stay, from images of that;
3. *restore* (:mod:`~efface.methods.subgroup.restore`): the weights are mixed with the reference's, where that forgets
   as surely and keeps more.

Zhang et al., *Targeted Forgetting of Image Subgroups in CLIP Models*, CVPR 2025 (arXiv 2506.03117), who published no
code: ``paper`` follows what is known of it, and docs/methods/subgroup.md says what is not. The settings without a
preset are ours.
Use when images of one kind are to go and others of the same class to stay. Weak without images of those others.
Cost: a forward pass for each image and copy, then a forward and backward pass of the last blocks a step and image.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from efface.cut import BATCH
from efface.encoding import encode_classes
from efface.methods.base import ForgetMethod
from efface.methods.subgroup.answers import answered, meanings, share_left
from efface.methods.subgroup.forget import Forget
from efface.methods.subgroup.remind import Remind
from efface.methods.subgroup.restore import Restore
from efface.types import Checkpoint, DualEncoder, ForgetData, Needs, Reporter, Trace, Unkept, Within

__all__ = ["PAPER", "PRESETS", "Forget", "Remind", "Restore", "Subgroup"]

Stage = Literal["forget", "remind", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Subgroup:
    """Images of one kind are forgotten, in three stages."""

    stages: tuple[Stage, ...] = Field(
        default=("forget", "restore"), min_length=1, description="which of forget, remind, restore, and in what order"
    )
    forget: Forget = Field(default=Forget(), description="settings of the first stage")
    remind: Remind = Field(default=Remind(), description="settings of the second stage")
    restore: Restore = Field(default=Restore(), description="settings of the third stage")
    summary: ClassVar[str] = "images of one kind are forgotten, the rest is reminded of and restored"

    @field_validator("stages")
    @classmethod
    def _once_each(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if len(set(stages)) < len(stages):
            raise ValueError("name each stage once at most")
        return stages

    @property
    def needs(self) -> Needs:
        """All that one of the stages needs."""
        stages: dict[Stage, ForgetMethod] = {"forget": self.forget, "remind": self.remind, "restore": self.restore}
        of = [stages[name].needs for name in self.stages]
        return Needs(
            # Whatever the stages ask for, images to forget tell what the run came to.
            forget_images=max(one.forget_images for one in of) or self.forget.images,
            retain_images=max(one.retain_images for one in of),
            calibration_images=max(one.calibration_images for one in of),
            prompt=self.forget.prompt if "forget" in self.stages else None,
        )

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
        """Runs the stages one after the other."""
        if data.forget is None:
            raise ValueError("subgroup needs images of what is to be forgotten: see its needs")
        checkpoint, of = checkpoint or Unkept(), meanings(data)
        known = checkpoint.take() or {"steps": [], "reasons": [], "reached": True, "part": None}
        steps, reasons, reached = list(known["steps"]), list(known["reasons"]), known["reached"]
        part = known["part"]
        for name in self.stages[len(reasons) :]:
            state = {"steps": tuple(steps), "reasons": tuple(reasons), "reached": reached}
            # Only the stage that was stopped goes on from something.
            noted, part = Within(checkpoint, part, partial(dict, state)), None
            trace = self._edit_(name, model, reference, data, rng, reporter, noted)
            steps += [{"stage": name, **step} for step in trace.steps]
            reasons.append(f"{name}: {trace.reason}")
            # Where a later stage has a goal of its own, what an earlier one missed is made good or missed again there.
            reached = trace.reached if name != "remind" else reached
            state = {"steps": tuple(steps), "reasons": tuple(reasons), "reached": reached, "part": None}
            checkpoint.offer(partial(dict, state))
        classes = encode_classes(model, data.class_tokens)
        left = share_left(*answered(model, classes, data.forget, BATCH), of)
        goal = self.restore.stop_accuracy if "restore" in self.stages else self.forget.stop_accuracy
        reason = f"{left:.1%} of the images to forget are answered with their class in the end; {'; '.join(reasons)}"
        return Trace(tuple(steps), reached=reached and left <= goal, reason=reason)

    def _edit_(  # noqa: PLR0913 (all that a stage is handed)
        self,
        name: Stage,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint,
    ) -> Trace:
        if name == "restore":
            # Seconds: done again rather than noted.
            return self.restore.edit_(model, reference, data, rng=rng, reporter=reporter)
        stage = self.forget if name == "forget" else self.remind
        return stage.edit_(model, reference, data, rng=rng, reporter=reporter, checkpoint=checkpoint)


PAPER = Subgroup(
    stages=("forget", "remind", "restore"),
    forget=Forget(
        objective="cosine", hold=0.0, leaves=0, forget_copies=0, copies=0, blocks=0, share=0.25, rank=8, steps=500,
        every=5, until="goal", batch_size=64, stop_accuracy=0.05,
    ),
    remind=Remind(forgotten=0.0, rank=8, steps=100),
    restore=Restore(search="grid", evaluations=21, copies=0, gain=0.0, stop_accuracy=0.05),
)  # fmt: skip
PRESETS = {"default": Subgroup(), "paper": PAPER}
