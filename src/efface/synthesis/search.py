"""Attempts at images of a class, several side by side, decided as if each had been made after the one before.

Of what comes before it, an attempt depends on one thing, the threshold that it must pass: it falls with every failure.
The path that its image takes does not. So an attempt that begins before earlier ones are decided keeps the first image
above each threshold that may turn out to be its own, and stops at the highest of them; when all before it are decided,
its threshold is known, and so is its image, or it goes on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from efface.types import Images, State, Step

LARGEST_SEED = 2**63 - 1


@dataclass(slots=True)
class Attempt:
    """One image on its way.

    Attributes:
        image: as it is now, shape ``(1, 3, height, width)``.
        rng: of all its random numbers.
        iterations: steps done.
        probability: of the class in the last of them.
        passed: by the number of failures before it, what it would then end with: the first image above the threshold
            after so many, its probability, and the steps that it took.
    """

    image: Images
    rng: torch.Generator
    iterations: int = 0
    probability: float = math.nan
    passed: dict[int, tuple[Images, float, int]] = field(default_factory=dict)

    def note(self, used: Images, thresholds: Sequence[float], failures: int) -> None:
        """Keeps an image for each threshold that it is the first to pass; those of fewer failures are over."""
        for place in range(failures, len(thresholds)):
            if place not in self.passed and self.probability > thresholds[place]:
                self.passed[place] = (used.clone(), self.probability, self.iterations)


@dataclass(slots=True)
class Search:
    """Attempts until so many images are accepted, or so many have failed as there are thresholds.

    Attributes:
        count: images that are wanted.
        thresholds: what an attempt must pass after so many failures.
        iterations: steps of an attempt, at most.
        rng: of the only attempt; else of what the random numbers of each begin with.
        attempts: begun and not decided, in order.
        images: accepted.
        steps: what became of each attempt that is decided.
        failures: those among them that failed.
    """

    count: int
    thresholds: tuple[float, ...]
    iterations: int
    rng: torch.Generator
    attempts: list[Attempt] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    failures: int = 0

    @property
    def is_over(self) -> bool:
        """Whether there are all images, or no hope."""
        return len(self.images) >= self.count or self.failures >= len(self.thresholds)

    @property
    def undecided(self) -> list[Attempt]:
        """The attempts that go on, whatever comes of those before them."""
        return [one for one in self.attempts if self.failures not in one.passed and one.iterations < self.iterations]

    def begin(self, at_once: int, start: Callable[[torch.Generator], Images]) -> None:
        """New attempts, until so many go on, or all images that are wanted are on their way."""
        room = min(at_once - len(self.undecided), self.count - len(self.images) - len(self.attempts))
        for _ in range(room):
            rng = self.rng if at_once == 1 else self._own()
            self.attempts.append(Attempt(start(rng), rng))

    def _own(self) -> torch.Generator:
        seed = torch.randint(0, LARGEST_SEED, (), generator=self.rng, device=self.rng.device)
        return torch.Generator(device=self.rng.device).manual_seed(int(seed))

    def decide(self) -> int:
        """Ends the attempts of which all before them are ended; returns how many images were accepted by that."""
        before = len(self.images)
        while self.attempts and not self.is_over:
            one = self.attempts[0]
            found = one.passed.get(self.failures)
            if found is None and one.iterations < self.iterations:
                break
            _, probability, iterations = found or (None, one.probability, one.iterations)
            threshold = self.thresholds[self.failures]
            self.steps.append(
                {
                    "iterations": iterations,
                    "threshold": threshold,
                    "probability": probability,
                    "accepted": found is not None,
                }
            )
            if found is not None:
                self.images.append(found[0])
            else:
                self.failures += 1
            self.attempts.pop(0)
        return len(self.images) - before

    def state(self) -> State:
        """What it takes to go on, as plain values and tensors."""
        return {
            "images": list(self.images),
            "steps": list(self.steps),
            "failures": self.failures,
            "attempts": [
                {
                    "image": one.image,
                    "rng": None if one.rng is self.rng else one.rng.get_state(),
                    "iterations": one.iterations,
                    "probability": one.probability,
                    "passed": [[place, *found] for place, found in one.passed.items()],
                }
                for one in self.attempts
            ],
        }

    def restore(self, known: State | None, device: torch.device) -> None:
        """Goes on from what :meth:`state` said; begins where that is None."""
        if known is None:
            return
        self.images = [image.to(device) for image in known["images"]]
        self.steps, self.failures = list(known["steps"]), known["failures"]
        for one in known["attempts"]:
            rng = self.rng
            if one["rng"] is not None:
                rng = torch.Generator(device=self.rng.device)
                rng.set_state(one["rng"])
            passed = {place: (image.to(device), likely, steps) for place, image, likely, steps in one["passed"]}
            self.attempts.append(Attempt(one["image"].to(device), rng, one["iterations"], one["probability"], passed))
