"""Images of a class by gradient ascent on the model itself.

Starts from noise and climbs the class's logit; jitter and blur keep the image from turning into an adversarial pattern.
An image is accepted when the model, asked about the image as it will be used, is sure of the class.

Kravets and Namboodiri, WACV 2025 (arXiv 2407.07485), as their code does it, one image at a time: the constants below
are the published ones, the quirks are kept and listed in docs/methods/lip.md. Two things differ: the image size is the
model's, and after ``max_failures`` attempts without success the search ends and says so, where theirs goes on for ever.
"""

import math
from functools import partial

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes, finite
from efface.functional.ascent import accepted, blur, unit_step
from efface.functional.similarity import zero_shot_logits
from efface.synthesis.base import Synthetic
from efface.types import (
    Checkpoint,
    ClassFeatures,
    ClassTokens,
    DualEncoder,
    Images,
    PixelSpace,
    Reporter,
    Scalar,
    State,
    Step,
    Trace,
    Unkept,
    Within,
)

IMAGENET = PixelSpace((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 224)
"""The space that published images live in, whatever the model's own statistics are."""


def ascent_objective(logit: Float[Tensor, " batch"], images: Images, l2: float) -> Scalar:
    """The class's logit less ``l2`` times the image's length, summed over images: what is climbed."""
    length: Tensor = images.flatten(1).norm(dim=1)
    return (logit - l2 * length).sum()


def displayed(images: Images) -> Images:
    """Pixels in [0, 1] for images in ImageNet's normalised space, each stretched to the full range.

    Least and largest value are taken over all channels of an image together.
    """
    pixels = IMAGENET.denormalize(images)
    low = pixels.flatten(1).min(dim=1).values.view(-1, 1, 1, 1)
    high = pixels.flatten(1).max(dim=1).values.view(-1, 1, 1, 1)
    # An image of one color has no range to fill: it becomes black.
    return (pixels - low) / (high - low).clamp_min(1e-12)


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class GradientAscent:
    """Gradient ascent on the class's logit, one image at a time."""

    iterations: int = Field(default=3000, ge=1, description="steps of one attempt, at most")
    rate: float = Field(default=25.0, gt=0, description="length of a step, in ImageNet's normalised space")
    l2: float = Field(default=1e-3, ge=0, description="weight of the image's length in the objective")
    jitter: int = Field(default=16, ge=0, description="largest shift, in pixels, with wrap-around")
    blur_every: int = Field(default=10, ge=1, description="steps between blurs, the first step included")
    blur_sigma: float = Field(default=0.5, gt=0, description="of the blur, in pixels")
    threshold: float = Field(default=0.8, gt=0, lt=1, description="probability above which an image is accepted")
    threshold_decay: float = Field(default=0.025, ge=0, description="taken off the threshold after each failure")
    threshold_floor: float = Field(default=0.45, ge=0, lt=1, description="where that ends")
    acceptance_scale: float = Field(
        default=100.0,
        gt=0,
        description="what cosines are multiplied with in the acceptance test, whatever the model's scale",
    )
    max_failures: int = Field(default=20, ge=1, description="attempts without success after which the search ends")

    def __call__(  # noqa: PLR0913 (the arguments of every synthesis, and its checkpoint)
        self,
        model: DualEncoder,
        class_tokens: ClassTokens,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
    ) -> Synthetic:
        """Makes images until ``count`` are accepted or ``max_failures`` attempts have failed."""
        checkpoint = checkpoint or Unkept()
        known = checkpoint.take() or {}
        classes = encode_classes(model, class_tokens)
        threshold, failures = known.get("threshold", self.threshold), known.get("failures", 0)
        images: list[Images] = [image.to(model.device) for image in known.get("images", [])]
        steps: list[Step] = list(known.get("steps", []))
        attempt = Within(
            checkpoint,
            known.get("part"),
            lambda: {"threshold": threshold, "failures": failures, "images": images, "steps": steps},
        )
        with reporter.stage("synthesising images", count) as advance:
            advance(len(images))
            while len(images) < count and failures < self.max_failures:
                image, probability, iterations = self.attempt(
                    model, classes, target, threshold, rng=rng, checkpoint=attempt
                )
                success = image is not None
                steps.append(
                    {"iterations": iterations, "threshold": threshold, "probability": probability, "accepted": success}
                )
                if image is not None:
                    images.append(image)
                    advance(1)
                else:
                    failures += 1
                    threshold = min(threshold, max(threshold - self.threshold_decay, self.threshold_floor))
        size = (0, 3, model.pixels.height, model.pixels.width)
        found = torch.cat(images) if images else torch.empty(size, device=model.device)
        reason = f"{len(images)} of {count} images were accepted in {len(steps)} attempts"
        if failures == self.max_failures:
            reason += f", the last below a probability of {threshold:.3g}"
        return Synthetic(found, Trace(tuple(steps), reached=len(images) == count, reason=reason))

    def attempt(
        self,
        model: DualEncoder,
        classes: ClassFeatures,
        target: int,
        threshold: float,
        *,
        rng: torch.Generator,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[Images | None, float, int]:
        """One image from noise: model input or None, its last probability, and the steps that it took.

        Raises:
            NotFiniteError: If the model puts out NaN or infinite features.
        """
        pixels = model.pixels
        checkpoint = checkpoint or Unkept()
        known = checkpoint.take()
        if known is None:
            image = torch.randn((1, 3, pixels.height, pixels.width), generator=rng, device=model.device)
        else:
            image = known["image"].to(model.device)
        wanted = torch.tensor([target], device=model.device)
        probability = math.nan
        for iteration in range(0 if known is None else known["iteration"], self.iterations):
            checkpoint.offer(partial(_begun, iteration, image))
            image = self.step(model, classes, target, image, rng=rng)
            if iteration % self.blur_every == 0:
                image = blur(image, self.blur_sigma)
            used = pixels.normalize(displayed(image))
            with torch.no_grad():
                cosines = zero_shot_logits(finite(model.encode_image(used), "image"), classes, 1.0)
            success, probabilities = accepted(cosines, wanted, self.acceptance_scale, threshold)
            probability = probabilities.item()
            if success.item():
                return used, probability, iteration + 1
        return None, probability, self.iterations

    def step(
        self, model: DualEncoder, classes: ClassFeatures, target: int, image: Images, *, rng: torch.Generator
    ) -> Images:
        """One step up: shift, climb, shift back, clamp to what ImageNet's statistics make of pixels in [0, 1]."""
        x, y = torch.randint(0, self.jitter + 1, (2,), generator=rng, device=rng.device).tolist()
        shifted = image.roll((x, y), dims=(-1, -2)).detach().requires_grad_()
        # The published ascent normalises a second time what is normalised already; the acceptance test does not.
        features = model.encode_image(model.pixels.normalize(shifted))
        logit = zero_shot_logits(features, classes, model.logit_scale.detach())[:, target]
        (gradient,) = torch.autograd.grad(ascent_objective(logit, shifted, self.l2), shifted)
        climbed = unit_step(shifted.detach(), gradient, self.rate).roll((-x, -y), dims=(-1, -2))
        low, high = IMAGENET.normalize(torch.zeros_like(climbed)), IMAGENET.normalize(torch.ones_like(climbed))
        return climbed.clamp(low, high)


def _begun(iteration: int, image: Images) -> State:
    return {"iteration": iteration, "image": image}
