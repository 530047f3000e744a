"""Images of a class by gradient ascent on the model itself, many at once.

Every image starts from noise and climbs the log-probability of its class. The forward pass that gives the gradient also
tells which images the model is sure of by now: those are taken as they are and leave the batch, and new ones enter.
Nothing is computed twice, and no gradient of a weight at all.

After Kravets and Namboodiri, WACV 2025 (arXiv 2407.07485), whose procedure :mod:`efface.synthesis.ascent` keeps; here
images live in [0, 1] as the logistic function of what is climbed, so that none is clamped or stretched, the model is
asked with its own statistics, and a shift moves the image itself, so that what is tested is what is handed out.
Cost: a forward and a backward pass an image and step; on small CLIPs five to ten steps an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.encoding import encode_classes, finite
from efface.functional.ascent import accepted, blur, mean_step
from efface.synthesis.base import Synthetic
from efface.types import ClassFeatures, ClassTokens, DualEncoder, Images, Labels, Reporter, Step, Trace

LARGEST = 5.0
"""Bound of what is climbed: the logistic function of 5 is 0.993, and far beyond it has no gradient."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class BatchAscent:
    """Gradient ascent on the log-probability of the class, on a batch that is kept full."""

    iterations: int = Field(default=100, ge=1, description="steps of one image, at most")
    rate: float = Field(default=0.1, gt=0, description="mean size of a step, in the logit of a pixel's value")
    jitter: float = Field(
        default=0.03, ge=0, lt=1, description="largest shift in a step, as a share of the side, with wrap-around"
    )
    blur_every: int = Field(default=10, ge=0, description="steps between blurs; 0 for none")
    blur_sigma: float = Field(default=0.5, gt=0, description="of the blur, in pixels")
    threshold: float = Field(default=0.8, gt=0, lt=1, description="probability above which an image is accepted")
    threshold_decay: float = Field(
        default=0.025, ge=0, description="taken off the threshold for each image that needed all its steps"
    )
    threshold_floor: float = Field(
        default=0.45, ge=0, lt=1, description="where that ends; an image that needed all steps must be above it"
    )
    acceptance_scale: float = Field(
        default=100.0, gt=0, description="what cosines are multiplied with in the acceptance test"
    )
    batch_size: int = Field(default=64, ge=1, description="images that climb at once")
    max_failures: int = Field(default=20, ge=1, description="images without success after which the search ends")

    def __call__(
        self,
        model: DualEncoder,
        class_tokens: ClassTokens,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Synthetic:
        """Makes images until ``count`` are accepted or ``max_failures`` have failed."""
        targets = torch.full((count,), target, device=model.device)
        return self.for_targets(model, encode_classes(model, class_tokens), targets, rng=rng, reporter=reporter)

    def for_targets(
        self, model: DualEncoder, classes: ClassFeatures, targets: Labels, *, rng: torch.Generator, reporter: Reporter
    ) -> Synthetic:
        """Makes one image for each target, of different classes if need be.

        Args:
            model: only read.
            classes: one unit vector a class.
            targets: a row of ``classes`` for each image that is wanted.
            rng: on the model's device.
            reporter: told of every accepted image.

        Returns:
            The images in the order of ``targets``, less those that were never accepted.

        Raises:
            NotFiniteError: If the model puts out NaN or infinite features.
        """
        search = _Search(self, model, classes, targets, rng)
        weights = [(p, p.requires_grad) for p in model.module.parameters()]
        for parameter, _ in weights:
            parameter.requires_grad_(False)
        try:
            with reporter.stage("synthesising images", len(targets)) as advance:
                for found in search.steps():
                    advance(found)
        finally:
            for parameter, had in weights:
                parameter.requires_grad_(had)
        return search.result()


@plain_dataclass(slots=True)
class _Climbing:
    """The images that climb now, a row each.

    Attributes:
        latent: pixels are the logistic function of it.
        places: which of the wanted images each is for.
        ages: steps done.
        best: the highest probability that passed so far with the class as first choice; 0 for none.
        best_pixels: the image that had it.
    """

    latent: Images
    places: Labels
    ages: Labels
    best: Float[Tensor, " batch"]
    best_pixels: Images

    def note_best(self, probability: Float[Tensor, " batch"], pixels: Images) -> None:
        """Counts a step, and keeps what is better than before."""
        better = probability > self.best
        self.ages += 1
        self.best = torch.where(better, probability, self.best)
        self.best_pixels = torch.where(better.view(-1, 1, 1, 1), pixels, self.best_pixels)

    def take(self, rows: Int[Tensor, " some"]) -> "_Climbing":
        return _Climbing(self.latent[rows], self.places[rows], self.ages[rows], self.best[rows], self.best_pixels[rows])

    def join(self, other: "_Climbing") -> "_Climbing":
        return _Climbing(
            torch.cat([self.latent, other.latent]),
            torch.cat([self.places, other.places]),
            torch.cat([self.ages, other.ages]),
            torch.cat([self.best, other.best]),
            torch.cat([self.best_pixels, other.best_pixels]),
        )


@plain_dataclass(slots=True)
class _Search:
    settings: BatchAscent
    model: DualEncoder
    classes: ClassFeatures
    targets: Labels
    rng: torch.Generator
    waiting: list[int] = field(init=False)
    threshold: float = field(init=False)
    failures: int = 0
    images: dict[int, Images] = field(default_factory=dict)
    attempts: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = list(range(len(self.targets)))
        self.threshold = self.settings.threshold

    def steps(self) -> Iterator[int]:
        """Climbs until all is found or too much has failed; gives the number of images found in each step."""
        now = self.begin(0)
        while self.failures < self.settings.max_failures:
            now = now.join(self.begin(self.settings.batch_size - len(now.places)))
            if not len(now.places):
                return
            before = len(self.images)
            now = self.step(now)
            yield len(self.images) - before

    def begin(self, count: int) -> _Climbing:
        """Noise for the next ``count`` of the wanted images, or for as many as there are."""
        places, self.waiting = self.waiting[:count], self.waiting[count:]
        pixels, n, device = self.model.pixels, len(places), self.model.device
        latent = torch.randn((n, 3, pixels.height, pixels.width), generator=self.rng, device=device)
        zeros = torch.zeros(n, dtype=torch.int64, device=device)
        where = torch.tensor(places, dtype=torch.int64, device=device)
        return _Climbing(latent, where, zeros, zeros.float(), torch.zeros_like(latent))

    def step(self, now: _Climbing) -> _Climbing:
        """One step of all images; those that are accepted or out of steps leave."""
        s = self.settings
        latent = self.shifted(now.latent).requires_grad_()
        pixels = latent.sigmoid()
        features = finite(self.model.encode_image(self.model.pixels.normalize(pixels)), "image")
        cosines, wanted = features @ self.classes.T, self.targets[now.places]
        first, probability = accepted(cosines.detach(), wanted, s.acceptance_scale, 0.0)
        now.note_best(torch.where(first, probability, 0), pixels.detach())
        # Not this step's probability: the threshold may have fallen below an earlier one.
        passed = now.best > self.threshold
        climbed = self.climb(
            latent, F.cross_entropy(self.model.logit_scale.detach() * cosines, wanted, reduction="sum")
        )
        exhausted = ~passed & (now.ages == s.iterations)
        for row in torch.nonzero(passed | exhausted).flatten().tolist():
            self.leave(now, row, is_exhausted=bool(exhausted[row]))
        # Blurs come at the same ages for all images, whenever they entered.
        if s.blur_every:
            due = (now.ages % s.blur_every == 0).view(-1, 1, 1, 1)
            climbed = torch.where(due, blur(climbed, s.blur_sigma), climbed)
        now.latent = climbed
        return now.take(torch.nonzero(~(passed | exhausted)).flatten())

    def shifted(self, latent: Images) -> Images:
        """The images themselves moved, so that what is tested is what is handed out."""
        sides = latent.shape[-2:]
        most = [round(self.settings.jitter * side) for side in sides]
        shift = [int(torch.randint(-m, m + 1, (), generator=self.rng, device=self.rng.device)) for m in most]
        return latent.detach().roll(shift, dims=(-2, -1))

    def climb(self, latent: Images, loss: Tensor) -> Images:
        (gradient,) = torch.autograd.grad(loss, latent)
        return mean_step(latent.detach(), -gradient, self.settings.rate).clamp(-LARGEST, LARGEST)

    def leave(self, now: _Climbing, row: int, *, is_exhausted: bool) -> None:
        """Takes an image that was accepted, or the best of one that is out of steps; else it is begun anew."""
        s, place, best = self.settings, int(now.places[row]), float(now.best[row])
        is_taken = not is_exhausted or best > s.threshold_floor
        self.attempts.append(
            {"iterations": int(now.ages[row]), "threshold": self.threshold, "probability": best, "accepted": is_taken}
        )
        if is_taken:
            self.images[place] = self.model.pixels.normalize(now.best_pixels[row : row + 1])
        else:
            self.failures += 1
            self.waiting.append(place)
        if is_exhausted:
            self.threshold = min(self.threshold, max(self.threshold - s.threshold_decay, s.threshold_floor))

    def result(self) -> Synthetic:
        """What was found, in the order in which it was wanted."""
        pixels, wanted = self.model.pixels, len(self.targets)
        empty = torch.empty((0, 3, pixels.height, pixels.width), device=self.model.device)
        images = torch.cat([empty, *(self.images[place] for place in sorted(self.images))])
        reason = f"{len(images)} of {wanted} images were accepted in {len(self.attempts)} attempts"
        if self.failures >= self.settings.max_failures:
            reason += f", the last below a probability of {self.threshold:.3g}"
        return Synthetic(images, Trace(tuple(self.attempts), reached=len(images) == wanted, reason=reason))
