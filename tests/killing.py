"""A small run that can be killed at any of its moments, and what must come of it in the end."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import efface
from efface import checkpoints
from efface.backends.base import LoadedCLIP
from efface.backends.open_clip import OpenCLIPEncoder
from efface.export.place import beside
from efface.measuring import Options
from efface.methods.lip import Lip
from efface.synthesis.ascent import GradientAscent
from tests.worlds import NAMES, World

# Rounds that are kept and rounds that are rolled back, at two learning rates; accepted images and failures.
LIP = Lip(
    images=8, batch_size=3, samples=2, max_rounds=3, learning_rate=3e-3, learning_rate_growth=3, stop_accuracy=0.0
)
ASCENT = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.34, iterations=6)
MAY_DIFFER = ("created", "seconds", "timing", "peak_memory_bytes", "sha256")
"""What two runs of one request may differ in: times, memory, and the digest over all of it."""


POINTS = ("embed_image", "embed_text", "write_text", "replace", "rename", "fsync")
"""Passes through a tower, and steps of a write."""


class Killed(BaseException):
    """The end of a process, as far as one can be had without ending the tests."""


class Moments:
    """A reporter that knows the stage, and every moment at which a run may be killed."""

    def __init__(
        self,
        stage: str = "",
        at: int = 0,
        kill: Callable[[], None] = lambda: None,
        points: tuple[str, ...] = POINTS,
        *,
        usual: bool = False,
    ) -> None:
        self.seen: list[str] = []
        self.seconds = 0.0
        self._points, self._usual = points, usual
        self._stage, self._in, self._at, self._kill = "beginning", stage, at, kill

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        del total
        self._stage = name.split()[0].strip(",")
        yield lambda _: None
        self._stage = "writing" if self._stage == "evaluating" else "between"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A moment before and after each call of the points."""
        homes: dict[str, Any] = {"embed_image": OpenCLIPEncoder, "embed_text": OpenCLIPEncoder, "write_text": Path}
        with ExitStack() as stack:
            if self._usual:  # a moment takes a second
                stack.enter_context(mock.patch.object(time, "monotonic", self._clock))
            else:
                stack.enter_context(mock.patch.multiple(checkpoints, EVERY=0.0, SHARE=float("inf")))
            for name in self._points:
                where = homes.get(name, os)
                stack.enter_context(mock.patch.object(where, name, self._passing(getattr(where, name))))
            yield

    def _clock(self) -> float:
        return self.seconds

    def _passing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def passing(*args: Any, **more: Any) -> Any:
            self._pass_by()
            found = real(*args, **more)
            self._pass_by()
            return found

        return passing

    def _pass_by(self) -> None:
        count = self.seen.count(self._stage)
        self.seen.append(self._stage)
        self.seconds += 1
        # From then on: a disk that is full stays full.
        if self._stage == self._in and count >= self._at:
            self._kill()


def forget(
    clip: LoadedCLIP,
    world: World,
    out: Path,
    moments: Moments,
    *,
    resume: bool = False,
    overwrite: bool = False,
    data: tuple[str, ...] = (),
) -> None:
    """The run; on the pictures of the world if no data is given."""
    with moments.watched():
        run = efface.forget(
            clip,
            "dog",
            among=NAMES,
            method=LIP,
            synthesizer=ASCENT,
            data=data or [world.data],
            options=Options(batch_size=5, reporter=moments),
            working=beside(out),
            resume=resume,
            overwrite=overwrite,
        )
        run.save(out, overwrite=overwrite)


def die() -> None:
    """Ends this process as a lack of power does."""
    os.kill(os.getpid(), signal.SIGKILL)


def raise_killed() -> None:
    """The same for tests that cannot end theirs."""
    raise Killed


def told(out: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a run folder holds that must not depend on when the run was killed."""
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    files = {str(p.relative_to(out)): p.read_bytes() for p in (out / "model").rglob("*") if p.is_file()}
    return {name: value for name, value in record.items() if name not in MAY_DIFFER}, files
