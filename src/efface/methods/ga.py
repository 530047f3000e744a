r"""GA, gradient ascent: climb the class's own loss on its images until the model no longer says the class.

    L = mean_i log p(targets | x_i),   p = softmax(scale * cosines with all class texts)

is minimised, which for one class is the negative of the usual loss. Only the image tower moves, BatchNorm apart.

The plainest of all methods, to compare others with: every survey of machine unlearning has it. The settings without a
preset are the constants of a published CLIP baseline; what they leave open is in docs/methods/ga.md.
Use when a floor for a comparison is wanted. Weak when anything else is to stay: the loss has no lower end, and nothing
holds the other classes, so that all that ends it is the stop at an accuracy on the class's images.
Cost: a round is one forward and backward pass over the images, and after every step a forward pass over all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes
from efface.errors import NotFiniteError, counted
from efface.functional.similarity import zero_shot_logits
from efface.methods.base import Batch, Hooks, Verdict, fit_, only_trainable, share_taken_for
from efface.types import (
    Checkpoint,
    ClassFeatures,
    DualEncoder,
    ForgetData,
    LabelledImages,
    Needs,
    Reporter,
    Scalar,
    Step,
    Trace,
)


def log_share(logits: Float[Tensor, "batch classes"], targets: Sequence[int]) -> Scalar:
    """The log of the probability that the targets have together, a mean over the batch.

    Args:
        logits: of all classes; gradient flows.
        targets: rows of the classes.

    Returns:
        At most 0, without a lower end; for one target the negative of the cross-entropy.
    """
    return (logits[:, list(targets)].logsumexp(dim=1) - logits.logsumexp(dim=1)).mean()


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Ga:
    """Ascent of the cross-entropy of the class on its own images, with an early stop."""

    images: int = Field(default=64, ge=1, description="images of the class to work on")
    learning_rate: float = Field(default=1e-7, gt=0, description="of AdamW, in the first round")
    learning_rate_growth: float = Field(default=1.0, ge=1, description="each round's rate is the last one's times this")
    max_learning_rate: float = Field(default=1e-3, gt=0, description="where that ends")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, of AdamW")
    batch_size: int = Field(default=32, ge=1, description="images a step")
    max_rounds: int = Field(default=10, ge=1, description="passes over the images, at most")
    stop_accuracy: float = Field(default=0.1, ge=0, lt=1, description="done when the images' accuracy is this or less")

    summary: ClassVar[str] = "gradient ascent: climbs the class's loss on its own images, with an early stop"

    @property
    def needs(self) -> Needs:
        """Images of the class."""
        return Needs(forget_images=self.images)

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
        """Takes steps until the images are forgotten or the rounds used up; a round that ends in NaN is taken back."""
        del reference
        if data.forget is None:
            raise ValueError("gradient ascent needs images of the class: see its needs")
        images, ascent = data.forget, _Ascent(self, model, data, encode_classes(model, data.class_tokens))
        groups = [group for group in model.weights("image") if not group.is_batch_norm]
        with (
            only_trainable(model.module, groups) as weights,
            reporter.stage("gradient ascent, steps", None) as advance,
        ):
            optimizer = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=self.weight_decay)
            steps = fit_(
                optimizer,
                lambda: images.batches(self.batch_size, rng=rng),
                ascent.loss,
                Hooks(
                    after_step=lambda: ascent.measure(images, advance),
                    end_of_round=lambda _: ascent.judge(optimizer),
                ),
                rounds=self.max_rounds,
                checkpoint=checkpoint,
            )
        return self._trace(steps)

    def _trace(self, steps: list[Step]) -> Trace:
        if not steps[-1]["kept"]:
            rate = steps[-1]["learning_rate"]
            reason = f"a round at a learning rate of {rate:.2g} made the model answer with NaN and was taken back"
            return Trace(tuple(steps), reached=False, reason=reason)
        left = float(steps[-1]["accuracy"])  # type: ignore[arg-type]
        reached = left <= self.stop_accuracy
        only = "" if reached else f" only, not to {self.stop_accuracy:.1%}"
        reason = f"the accuracy on the class's images fell to {left:.1%}{only} after {counted(len(steps), 'round')}"
        return Trace(tuple(steps), reached=reached, reason=reason)


PRESETS = {"default": Ga(learning_rate=1e-6, learning_rate_growth=10**0.25, max_rounds=30), "paper": Ga()}


@plain_dataclass(slots=True)
class _Ascent:
    """What the loop's hooks share."""

    settings: Ga
    model: DualEncoder
    data: ForgetData
    classes: ClassFeatures
    accuracy: float = 1.0
    is_finite: bool = True

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        features = self.model.encode_image(batch[0].to(self.model.device))
        logits = zero_shot_logits(features, self.classes, self.model.logit_scale)
        return {"log_share": log_share(logits, self.data.targets)}

    def measure(self, images: LabelledImages, advance: Callable[[int], None]) -> bool:
        advance(1)
        size = self.settings.batch_size
        try:
            self.accuracy = share_taken_for(self.data.targets, self.model, self.classes, images, size)
        except NotFiniteError:
            # Such a model answers with any class.
            self.is_finite = False
            return True
        return self.accuracy <= self.settings.stop_accuracy

    def judge(self, optimizer: torch.optim.Optimizer) -> Verdict:
        s, (weights,) = self.settings, optimizer.param_groups
        notes: Step = {"learning_rate": weights["lr"], "accuracy": self.accuracy, "finite": self.is_finite}
        weights["lr"] = min(weights["lr"] * s.learning_rate_growth, max(s.max_learning_rate, s.learning_rate))
        stop = not self.is_finite or self.accuracy <= s.stop_accuracy
        return Verdict(keep=self.is_finite, stop=stop, notes=notes)
