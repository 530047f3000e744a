"""How long the stages of a run took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from efface.checkpoint_files import Stage


class Clock:
    """Seconds by stage, those of runs that were stopped included as far as their checkpoints go."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.stages: dict[str, float] = {}
        self.before = 0.0

    @contextmanager
    def __call__(self, stage: str, *checkpoints: Stage) -> Iterator[None]:
        """Times a stage."""
        before = sum(checkpoint.seconds for checkpoint in checkpoints)
        self.before += before
        started = time.perf_counter()
        yield
        self.stages[stage] = round(before + time.perf_counter() - started, 3)

    def total(self) -> float:
        """Seconds since it was made, and before."""
        return round(self.before + time.perf_counter() - self.started, 3)
