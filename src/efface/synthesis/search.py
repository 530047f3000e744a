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

from efface.seeds import draw_seed, seeded
from efface.types import Images, State, Step


@dataclass(slots=True, eq=False)
class Attempt:
    """One image on its way.

    Attributes:
        image: as it is now, shape ``(1, 3, height, width)``.
        rng: of all its random numbers.
        iterations: steps done.
        probability: of the class in the last of them.
        passed: what it would end with, by the place of the threshold that turns out to be its own: the first image
            above that, its probability, and the steps that it took.
    """

    image: Images
    rng: torch.Generator
    iterations: int = 0
    probability: float = math.nan
    passed: dict[int, tuple[Images, float, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Search:
    """Attempts until so many images are accepted, or so many have failed.

    Attributes:
        count: images that are wanted.
        thresholds: what an attempt must pass after no failure, after one, and so on; the last one stays.
        iterations: steps of an attempt, at most.
        max_failures: attempts that may fail.
        rng: of the only attempt; else of the seed that those of all attempts follow from.
        seeds: of attempts that run side by side, once there are some.
        attempts: begun and not decided, in order.
        images: accepted.
        steps: what became of each attempt that is decided.
        failures: those among them that failed.
    """

    count: int
    thresholds: tuple[float, ...]
    iterations: int
    max_failures: int
    rng: torch.Generator
    seeds: torch.Generator | None = None
    attempts: list[Attempt] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    failures: int = 0

    @property
    def is_over(self) -> bool:
        """Whether there are all images, or no hope."""
        return len(self.images) >= self.count or self.failures >= self.max_failures

    @property
    def undecided(self) -> list[Attempt]:
        """The attempts that go on, whatever comes of those before them."""
        now = self.place(self.failures)
        return [one for one in self.attempts if now not in one.passed and one.iterations < self.iterations]

    def place(self, failures: int) -> int:
        """The place of the threshold after so many failures."""
        return min(failures, len(self.thresholds) - 1)

    def begin(self, at_once: int, start: Callable[[torch.Generator], Images]) -> None:
        """New attempts, until so many go on, or all images that are wanted are on their way."""
        room = min(at_once - len(self.undecided), self.count - len(self.images) - len(self.attempts))
        for _ in range(room):
            rng = self.rng if at_once == 1 else self._own()
            self.attempts.append(Attempt(start(rng), rng))

    def _own(self) -> torch.Generator:
        """A generator for the next attempt. One number of ``rng`` is used in all, however many are begun in vain."""
        if self.seeds is None:
            self.seeds = seeded(draw_seed(self.rng), self.rng.device)
        return seeded(draw_seed(self.seeds), self.rng.device)

    def note(self, images: Images, used: Images, found: Sequence[float], passes: Sequence[Sequence[bool]]) -> None:
        """Takes in a step of all undecided attempts, a row each.

        Args:
            images: what they are now.
            used: the same as the model is handed it, and would be handed out.
            found: the probability of the class.
            passes: whether each of the thresholds was passed.
        """
        for row, one in enumerate(self.undecided):
            # A view would keep the whole batch.
            one.image, one.probability = images[row : row + 1].clone(), found[row]
            one.iterations += 1
            # All those before it may fail, and no more than these.
            last = self.place(self.failures + self.attempts.index(one))
            now = [at for at in range(self.place(self.failures), last + 1) if passes[row][at] and at not in one.passed]
            if now:
                kept = used[row : row + 1].clone()
                one.passed |= dict.fromkeys(now, (kept, one.probability, one.iterations))

    def decide(self) -> int:
        """Ends the attempts of which all before them are ended; returns how many images were accepted by that."""
        before = len(self.images)
        while self.attempts and not self.is_over:
            one, place = self.attempts[0], self.place(self.failures)
            found = one.passed.get(place)
            if found is None and one.iterations < self.iterations:
                break
            _, probability, iterations = found or (None, one.probability, one.iterations)
            step: Step = {"iterations": iterations, "threshold": self.thresholds[place], "probability": probability}
            self.steps.append({**step, "accepted": found is not None})
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
            "seeds": None if self.seeds is None else self.seeds.get_state(),
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
        self.seeds = None if known["seeds"] is None else _standing(known["seeds"], self.rng.device)
        for one in known["attempts"]:
            rng = self.rng if one["rng"] is None else _standing(one["rng"], self.rng.device)
            passed = {place: (image.to(device), likely, steps) for place, image, likely, steps in one["passed"]}
            self.attempts.append(Attempt(one["image"].to(device), rng, one["iterations"], one["probability"], passed))


def _standing(state: torch.Tensor, device: torch.device) -> torch.Generator:
    """A generator where another one stood."""
    rng = torch.Generator(device=device)
    rng.set_state(state)
    return rng
