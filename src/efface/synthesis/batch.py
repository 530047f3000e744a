"""Images of a class by gradient ascent on the model itself, many at once.

Every image starts from dead leaves, flat shapes that hide one another, and climbs the log-probability of its class by
Adam in a fixed number of steps whose size falls. The forward pass that gives the gradient also tells which images the
model is sure of by then: those leave the batch, and new ones enter; the others climb on. Nothing is computed twice, and
no gradient of a weight at all.

After Kravets and Namboodiri, WACV 2025 (arXiv 2407.07485), whose procedure :mod:`efface.synthesis.ascent` keeps. What
differs: the start (features of images that began as shapes serve real ones better than of those that began as noise,
see docs/methods/lip.md); images live in [0, 1] as the logistic function of what is climbed, so that none is clamped or
stretched; the model is asked with its own statistics; and a shift moves the image itself, so that what is tested is
what is handed out.
Cost: a forward and a backward pass an image and step.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.encoding import encode_classes, finite
from efface.functional.ascent import accepted
from efface.functional.leaves import dead_leaves
from efface.synthesis.base import Synthetic
from efface.synthesis.climbing import Climbing
from efface.types import (
    Checkpoint,
    ClassFeatures,
    ClassTokens,
    DualEncoder,
    Images,
    Labels,
    Reporter,
    State,
    Step,
    Trace,
    Unkept,
)

Decay = Annotated[float, Field(ge=0, lt=1)]
DARKEST = 0.03
"""Pixels of a start are moved to this distance from 0 and 1, where there is a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class BatchAscent:
    """Gradient ascent on the log-probability of the class, on a batch that is kept full."""

    start: Literal["leaves", "noise"] = Field(default="leaves", description="what images begin as")
    leaves: int = Field(default=20, ge=1, description="shapes in an image that begins as leaves, at most")
    steps: int = Field(default=20, ge=1, description="steps of every image")
    iterations: int = Field(default=60, ge=1, description="steps of an image that is not accepted, at most")
    rate: float = Field(default=0.2, gt=0, description="of Adam, in the logit of a pixel's value, in the first step")
    last_rate: float = Field(default=0.02, gt=0, description="where a cosine takes it in so many steps, time and again")
    betas: tuple[Decay, Decay] = Field(default=(0.5, 0.9), description="of Adam")
    jitter: float = Field(
        default=0.03, ge=0, lt=1, description="largest shift in a step, as a share of the side, with wrap-around"
    )
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
    max_failures: int = Field(default=100, ge=1, description="images without success after which the search ends")

    def __post_init__(self) -> None:
        if self.steps > self.iterations:
            raise ValueError(f"steps is {self.steps}, iterations is {self.iterations}: it must be as many or more")

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
        """Makes images until ``count`` are accepted or ``max_failures`` have failed."""
        targets = torch.full((count,), target, device=model.device)
        classes = encode_classes(model, class_tokens)
        return self.for_targets(model, classes, targets, rng=rng, reporter=reporter, checkpoint=checkpoint)

    def for_targets(  # noqa: PLR0913 (as above)
        self,
        model: DualEncoder,
        classes: ClassFeatures,
        targets: Labels,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
        must_pass: bool = True,
    ) -> Synthetic:
        """Makes one image for each target, of different classes if need be.

        Args:
            model: only read.
            classes: one unit vector a class.
            targets: a row of ``classes`` for each image that is wanted.
            rng: on the model's device.
            reporter: told of every accepted image.
            checkpoint: told after every step.
            must_pass: else every image is taken after ``steps`` steps, whatever the model says of it: where what is
                wanted is images that are near to many classes, and not each of a class.

        Returns:
            The images in the order of ``targets``, less those that were never accepted.

        Raises:
            NotFiniteError: If the model puts out NaN or infinite features.
        """
        checkpoint = checkpoint or Unkept()
        search = _Search(self, model, classes, targets.to(model.device), rng, must_pass)
        search.restore(checkpoint.take())
        weights = [(p, p.requires_grad) for p in model.module.parameters()]
        for parameter, _ in weights:
            parameter.requires_grad_(False)
        try:
            with reporter.stage("synthesising images", len(targets)) as advance:
                advance(len(search.images))
                for found in search.run():
                    advance(found)
                    checkpoint.offer(search.state)
        finally:
            for parameter, had in weights:
                parameter.requires_grad_(had)
        return search.result()


@plain_dataclass(slots=True)
class _Search:
    settings: BatchAscent
    model: DualEncoder
    classes: ClassFeatures
    targets: Labels
    rng: torch.Generator
    must_pass: bool
    waiting: list[int] = field(init=False)
    threshold: float = field(init=False)
    now: Climbing = field(init=False)
    failures: int = 0
    images: dict[int, Images] = field(default_factory=dict)
    attempts: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = list(range(len(self.targets)))
        self.threshold = self.settings.threshold
        self.now = self.begin(0)

    def state(self) -> State:
        """What it takes to go on, as plain values and tensors."""
        return {
            "waiting": self.waiting,
            "threshold": self.threshold,
            "failures": self.failures,
            "places": list(self.images),
            "images": list(self.images.values()),
            "attempts": self.attempts,
            "now": self.now.values(),
        }

    def restore(self, known: State | None) -> None:
        """Goes on from what :meth:`state` said; begins where that is None."""
        if known is None:
            return
        device = self.model.device
        self.waiting, self.attempts = list(known["waiting"]), list(known["attempts"])
        self.threshold, self.failures = known["threshold"], known["failures"]
        images = (image.to(device) for image in known["images"])
        self.images = dict(zip(known["places"], images, strict=True))
        self.now = Climbing(*(value.to(device) for value in known["now"]))

    def run(self) -> Iterator[int]:
        """Climbs until all is found or too much has failed; gives the number of images found in each step."""
        while self.failures < self.settings.max_failures:
            self.now = self.now.join(self.begin(self.settings.batch_size - len(self.now.places)))
            if not len(self.now.places):
                return
            before = len(self.images)
            self.now = self.step(self.now)
            yield len(self.images) - before

    def begin(self, count: int) -> Climbing:
        """A start for the next ``count`` of the wanted images, or for as many as there are."""
        places, self.waiting = self.waiting[:count], self.waiting[count:]
        n, device = len(places), self.model.device
        height, width = self.model.pixels.height, self.model.pixels.width
        if self.settings.start == "leaves":
            pixels = dead_leaves(n, height, width, rng=self.rng, most=self.settings.leaves)
            latent = pixels.clamp(DARKEST, 1 - DARKEST).logit()
        else:
            latent = torch.randn((n, 3, height, width), generator=self.rng, device=device)
        zeros = torch.zeros(n, dtype=torch.int64, device=device)
        where = torch.tensor(places, dtype=torch.int64, device=device)
        nothing = torch.zeros_like(latent)
        return Climbing(latent, nothing, nothing.clone(), where, zeros, zeros.float(), nothing.clone())

    def step(self, now: Climbing) -> Climbing:
        """One step of all images; those that are accepted or out of steps leave."""
        s = self.settings
        now.latent, now.mean, now.square = self.shifted(now.latent, now.mean, now.square)
        latent = now.latent.requires_grad_()
        pixels = latent.sigmoid()
        features = finite(self.model.encode_image(self.model.pixels.normalize(pixels)), "image")
        cosines, wanted = features @ self.classes.T, self.targets[now.places]
        first, probability = accepted(cosines.detach(), wanted, s.acceptance_scale, 0.0)
        now.note_best(torch.where(first, probability, 0), pixels.detach())
        # Not this step's probability: the threshold may have fallen below an earlier one.
        passed = (now.ages >= s.steps) & ((now.best > self.threshold) | (not self.must_pass))
        loss = F.cross_entropy(self.model.logit_scale.detach() * cosines, wanted, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, latent)
        # Who is not accepted begins a new descent of the rate: at the last one nothing moves any more.
        done = ((now.ages - 1) % s.steps + 1) / s.steps
        rate = s.last_rate + (s.rate - s.last_rate) * (1 + torch.cos(math.pi * done)) / 2
        now.descend(gradient, rate, s.betas)
        exhausted = ~passed & (now.ages >= s.iterations)
        for row in torch.nonzero(passed | exhausted).flatten().tolist():
            self.leave(now, row, is_exhausted=bool(exhausted[row]))
        return now.take(torch.nonzero(~(passed | exhausted)).flatten())

    def shifted(self, *latents: Images) -> list[Images]:
        """The images themselves moved, so that what is tested is what is handed out; and all that belongs to them."""
        sides = latents[0].shape[-2:]
        most = [round(self.settings.jitter * side) for side in sides]
        shift = [int(torch.randint(-m, m + 1, (), generator=self.rng, device=self.rng.device)) for m in most]
        return [latent.detach().roll(shift, dims=(-2, -1)) for latent in latents]

    def leave(self, now: Climbing, row: int, *, is_exhausted: bool) -> None:
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
            reason += f", the last not above a probability of {self.settings.threshold_floor:.3g}"
        return Synthetic(images, Trace(tuple(self.attempts), reached=len(images) == wanted, reason=reason))
