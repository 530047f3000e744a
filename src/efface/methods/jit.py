r"""JiT: smooth what the model answers around images of the class, in one pass of plain gradient descent over them.

    L = 1/S sum_k sum_i || h(x_i) - h(x_i^k) || / || x_i - x_i^k ||

The answers ``h(x_i)`` to images of the class are pulled to those to ``S`` noisy copies ``x_i^k``, which carry no
gradient. Only the image tower moves, BatchNorm apart. There is no stop rule, and nothing is asked of other classes.

Foster et al. 2024, An Information Theoretic Approach to Machine Unlearning (arXiv 2402.01401): there of classifiers; a
CLIP's answers are here its zero-shot logits. What that leaves open is in docs/methods/jit.md.
Use when it is to be compared with. Weak everywhere else: what one step of a fixed length does depends on the model.
Cost: ``samples`` forward passes and one forward and backward pass over the images.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes
from efface.errors import NotFiniteError
from efface.functional.lipschitz import lipschitz_loss
from efface.functional.similarity import zero_shot_logits
from efface.methods.base import Batch, Hooks, Verdict, fit_, is_resnet, noisy_outputs, only_trainable, share_taken_for
from efface.types import DualEncoder, ForgetData, Images, Needs, Reporter, Scalar, Trace

PUBLISHED = {"convolutional": (0.5, 3e-4), "transformer": (0.8, 1.5)}
"""Noise and learning rate with which whole classes were forgotten: the settings of a VGG11 and of a ViT."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Jit:
    """One pass of gradient descent that smooths the answers to images of the class."""

    images: int = Field(default=64, ge=1, description="images of the class to work on")
    noise: float | None = Field(
        default=None, gt=0, description="in units of the normalised input; none: as published for the architecture"
    )
    samples: int = Field(default=25, ge=1, description="noisy copies of an image in each step")
    outputs: Literal["logits", "features"] = Field(
        default="logits", description="what is smoothed: zero-shot logits of all classes, or unit features"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="of plain gradient descent; none: as published for the architecture"
    )
    batch_size: int = Field(default=128, ge=1, description="images a step")

    summary: ClassVar[str] = "smooths the answers to images of the class in one pass (JiT, Foster et al. 2024)"

    @property
    def needs(self) -> Needs:
        """Images of the class."""
        return Needs(forget_images=self.images)

    def constants(self, model: DualEncoder) -> tuple[float, float]:
        """Noise and learning rate for a model."""
        noise, rate = PUBLISHED["convolutional" if is_resnet(model) else "transformer"]
        return self.noise or noise, self.learning_rate or rate

    def edit_(
        self,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Trace:
        """Goes through the images once. There is no stop rule to miss, so any end but NaN is its goal."""
        del reference
        if data.forget is None:
            raise ValueError("JiT needs images of the class: see its needs")
        images, targets, classes = data.forget, data.targets, encode_classes(model, data.class_tokens)

        noise, rate = self.constants(model)

        def outputs(x: Images) -> Tensor:
            features = model.encode_image(x)
            return features if self.outputs == "features" else zero_shot_logits(features, classes, model.logit_scale)

        def loss(batch: Batch) -> dict[str, Scalar]:
            x = batch[0].to(model.device)
            noisy, distance = noisy_outputs(outputs, x, noise, self.samples, rng=rng)
            return {"lipschitz": lipschitz_loss(outputs(x), noisy, distance)}

        def judge(_: int) -> Verdict:
            try:
                accuracy = share_taken_for(targets, model, classes, images, self.batch_size)
            except NotFiniteError:
                return Verdict(keep=False, stop=True, notes={"finite": False})
            return Verdict(keep=True, stop=True, notes={"finite": True, "accuracy": accuracy})

        groups = [group for group in model.weights("image") if not group.is_batch_norm]
        with only_trainable(model.module, groups) as weights, reporter.stage("smoothing, steps", None) as advance:
            steps = fit_(
                torch.optim.SGD(weights, lr=rate),
                lambda: images.batches(self.batch_size, rng=rng),
                loss,
                Hooks(after_step=lambda: bool(advance(1)), end_of_round=judge),
                rounds=1,
            )
        if not steps[-1]["kept"]:
            return Trace(tuple(steps), reached=False, reason="the model answered with NaN, and the pass was taken back")
        left = f"the accuracy on the class's images is {steps[-1]['accuracy']:.1%}"
        return Trace(
            tuple(steps), reached=True, reason=f"{left}; this method has no stop rule, so the scores alone tell"
        )


PRESETS = {"default": Jit(noise=0.5, learning_rate=3e-4), "paper": Jit()}
