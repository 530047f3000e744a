"""Images of a class by gradient ascent on the model itself.

Starts from noise and climbs the class's logit; jitter and blur keep the image from turning into an adversarial pattern.
An image is accepted when the model, asked about the image as it will be used, is sure of the class.

Kravets and Namboodiri, WACV 2025 (arXiv 2407.07485), as their code does it, one image at a time: the constants below
are the published ones, the quirks are kept and listed in docs/methods/lip.md. Two things differ: the image size is the
model's, and after ``max_failures`` attempts without success the search ends and says so, where theirs goes on for ever.
With ``at_once`` several attempts run side by side, and end as one after the other: see :mod:`efface.synthesis.search`.
"""

from collections.abc import Sequence
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
from efface.synthesis.search import Attempt, Search
from efface.types import (
    Checkpoint,
    ClassFeatures,
    ClassTokens,
    DualEncoder,
    Images,
    PixelSpace,
    Reporter,
    Scalar,
    Trace,
    Unkept,
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
    """Gradient ascent on the class's logit, one image at a time if not asked otherwise."""

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
    at_once: int = Field(
        default=1, ge=1, description="attempts side by side; with several, each has random numbers of its own"
    )

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
        classes = encode_classes(model, class_tokens)
        thresholds = self.thresholds()
        search = Search(count, thresholds, self.iterations, self.max_failures, rng)
        search.restore(checkpoint.take(), model.device)
        with reporter.stage("synthesising images", count) as advance:
            advance(len(search.images))
            while not search.is_over:
                search.begin(self.at_once, partial(self.start, model))
                checkpoint.offer(search.state)
                search.note(*self.climb(model, classes, target, search.undecided, thresholds))
                advance(search.decide())
        size = (0, 3, model.pixels.height, model.pixels.width)
        found = torch.cat([torch.empty(size, device=model.device), *search.images])
        reason = f"{len(found)} of {count} images were accepted in {len(search.steps)} attempts"
        if search.failures == self.max_failures:
            reason += f", the last below a probability of {search.steps[-1]['threshold']:.3g}"
        return Synthetic(found, Trace(tuple(search.steps), reached=len(found) == count, reason=reason))

    def thresholds(self) -> tuple[float, ...]:
        """What an attempt must pass, after no failure, after one, and so on, until that stays as it is."""
        found = [self.threshold]
        while len(found) < self.max_failures:
            following = min(found[-1], max(found[-1] - self.threshold_decay, self.threshold_floor))
            if following == found[-1]:
                break
            found.append(following)
        return tuple(found)

    def start(self, model: DualEncoder, rng: torch.Generator) -> Images:
        """The noise that one image begins as."""
        return torch.randn((1, 3, model.pixels.height, model.pixels.width), generator=rng, device=model.device)

    def climb(
        self,
        model: DualEncoder,
        classes: ClassFeatures,
        target: int,
        attempts: Sequence[Attempt],
        thresholds: Sequence[float],
    ) -> tuple[Images, Images, list[float], list[list[bool]]]:
        """One step of every attempt, and the test of what it led to.

        Args:
            model: only read.
            classes: one unit vector a class.
            target: the row of the class.
            attempts: those that go on.
            thresholds: what may have to be passed.

        Returns:
            The images; the same as the model is handed them; the probability of the class; and, an image a row, whether
            the class is the first choice with a probability above each threshold.

        Raises:
            NotFiniteError: If the model puts out NaN or infinite features.
        """
        images = torch.cat([one.image for one in attempts])
        images = self.step(model, classes, target, images, rngs=[one.rng for one in attempts])
        due = [row for row, one in enumerate(attempts) if one.iterations % self.blur_every == 0]
        if due:
            images[due] = blur(images[due], self.blur_sigma)
        used = model.pixels.normalize(displayed(images))
        with torch.no_grad():
            cosines = zero_shot_logits(finite(model.encode_image(used), "image"), classes, 1.0)
        wanted = torch.full((len(attempts),), target, device=model.device)
        first, probabilities = accepted(cosines, wanted, self.acceptance_scale, 0.0)
        passes = first[:, None] & (probabilities[:, None] > probabilities.new_tensor(thresholds))
        return images, used, probabilities.tolist(), passes.tolist()

    def step(
        self,
        model: DualEncoder,
        classes: ClassFeatures,
        target: int,
        images: Images,
        *,
        rngs: Sequence[torch.Generator],
    ) -> Images:
        """One step up: shift, climb, shift back, clamp to what ImageNet's statistics make of pixels in [0, 1].

        Every image is shifted by its own random numbers.
        """
        shifts = [torch.randint(0, self.jitter + 1, (2,), generator=rng, device=rng.device).tolist() for rng in rngs]
        shifted = _rolled(images, shifts).detach().requires_grad_()
        # The published ascent normalises a second time what is normalised already; the acceptance test does not.
        features = model.encode_image(model.pixels.normalize(shifted))
        logit = zero_shot_logits(features, classes, model.logit_scale.detach())[:, target]
        (gradient,) = torch.autograd.grad(ascent_objective(logit, shifted, self.l2), shifted)
        climbed = _rolled(unit_step(shifted.detach(), gradient, self.rate), [[-x, -y] for x, y in shifts])
        low, high = IMAGENET.normalize(torch.zeros_like(climbed)), IMAGENET.normalize(torch.ones_like(climbed))
        return climbed.clamp(low, high)


def _rolled(images: Images, shifts: Sequence[Sequence[int]]) -> Images:
    """Each image shifted along width and height, with wrap-around."""
    rows = [image.roll((x, y), dims=(-1, -2)) for image, (x, y) in zip(images, shifts, strict=True)]
    return torch.stack(rows)
