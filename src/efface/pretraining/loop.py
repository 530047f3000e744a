"""The steps of a run: what is due when, and how it stops."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from efface.data.images import lost_workers_named
from efface.errors import EffaceError, NotFiniteError
from efface.evaluation.base import Score
from efface.pretraining.batches import Schedule, batches, tokenized
from efface.pretraining.checkpoints import Log, check_same, last_checkpoint, save_checkpoint
from efface.pretraining.material import Material
from efface.pretraining.place import CHECKPOINTS, LOG
from efface.pretraining.recipe import Recipe
from efface.pretraining.trainer import Trainer
from efface.types import Reporter, Silent

CALMER = "lower training.learning_rate, raise training.warmup_steps, or use bf16 in the place of fp16"


class Interrupted(EffaceError):
    """Stopped by a signal; a checkpoint was written."""


class Loop:
    """How far a run is: finished steps, losses since the last line of the log, seconds.

    Args:
        recipe: of the run.
        out: its folder.
        material: its data.
        trainer: what does a step.
        plan: which images come when.

    Attributes:
        trainer: as given.
        plan: as given.
    """

    def __init__(self, recipe: Recipe, out: Path, material: Material, trainer: Trainer, plan: Schedule) -> None:
        self._recipe, self._out, self._material = recipe, out, material
        self.trainer, self.plan = trainer, plan
        self._asked = recipe.training
        self._is_main = trainer.accelerator.is_main_process
        self._log = Log(out / LOG)
        self._losses: list[Tensor] = []
        self._seconds, self._since = 0.0, time.perf_counter()
        self._line = (0, 0.0)
        self._done, self._saved = 0, -1

    @property
    def seconds(self) -> float:
        """Spent in all, before a stop too."""
        return self._seconds + time.perf_counter() - self._since

    def resume_(self) -> None:
        """Goes back to the last checkpoint, if there is one.

        Raises:
            InputError: If it is of another recipe or of other data, or cannot be read.
        """
        state = last_checkpoint(self._out / CHECKPOINTS)
        if state is not None:
            given = {**self._recipe.to_dict(), "data_sha256": self._material.train.sha256}
            check_same(given, {**state["recipe"], "data_sha256": state["data_sha256"]}, self._out)
            self.trainer.restore_(state["trainer"])
            self._losses = [loss.to(self.trainer.device) for loss in state["losses"]]
            self._seconds, self._done = state["seconds"], state["step"]
            self._saved = self._done
            self._since = time.perf_counter()
        if self._is_main:
            self._log.cut(self._done)

    @lost_workers_named()
    def run_(self, reporter: Reporter) -> None:
        """Does the steps that are left, with lines of the log, evaluations and checkpoints when they are due.

        Raises:
            NotFiniteError: If a loss or a weight is NaN or infinite.
            Interrupted: At a signal to stop, after a checkpoint.
            OSError: If log or checkpoint cannot be written.
            EffaceError: If a process that decodes images is ended from outside.
        """
        images, total = self._material.train, self.plan.steps
        texts = tokenized(images.levels, self.trainer.clip.tokenize)
        left = batches(self.plan, images, texts, first=self._done, share=self.trainer.share)
        with (reporter if self._is_main else Silent()).stage("training", total) as advance, _signalled() as stopped:
            advance(self._done)
            self._line = (self._done, self.seconds)
            halted = False
            for batch in left:
                rate = self._asked.rate(self._done, total)
                self._losses.append(self.trainer.step_(batch, self._done, rate))
                self._done += 1
                advance(1)
                self._after_step(rate)
                halted = self._stops(stopped)
                if halted:
                    break
            # Also when it came while the last step was done.
            halted = halted or (self.trainer.share.processes == 1 and stopped())
        self._save()
        if halted or self._done < total:
            raise Interrupted(
                f"interrupted after {self._done} of {total} steps; a checkpoint was written to {self._out}",
                hint="run the command again with --resume to go on",
            )

    def _after_step(self, rate: float) -> None:
        done, asked, is_last = self._done, self._asked, self._done == self.plan.steps
        if done % asked.log_every == 0 or is_last:
            self._write_line(rate)
        if asked.eval_every and done % asked.eval_every == 0 and not is_last and self._is_main:
            with self.trainer.judged() as clip:
                for score in self._material.judge(clip, Silent()):
                    self._log.write({"step": done, **_told(score)})
        if asked.checkpoint_every and done % asked.checkpoint_every == 0:
            self._save()

    def _write_line(self, rate: float) -> None:
        loss = self._checked().mean().item()
        seconds = self.seconds
        steps, spent = self._done - self._line[0], seconds - self._line[1]
        self._losses, self._line = [], (self._done, seconds)
        if self._is_main:
            self._log.write(
                {
                    "step": self._done,
                    "epoch": round(self._done / self.plan.each_epoch, 4),
                    "loss": loss,
                    "lr": rate,
                    "scale": self.trainer.scale,
                    "images_per_s": round(steps * self.plan.batch_size / max(spent, 1e-9), 1),
                    "seconds": round(seconds, 2),
                }
            )

    def _checked(self) -> Tensor:
        losses = torch.stack(self._losses) if self._losses else torch.zeros(1)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = self._done - len(self._losses) + int(bad[0]) + 1
            raise NotFiniteError(
                f"the loss of step {step} is {losses[int(bad[0])].item()}",
                hint=CALMER,
            )
        return losses

    def _save(self) -> None:
        if self._saved == self._done:
            return
        # What a run would go on from is looked at first; a loss tells of the weights before its step, not after it.
        self._checked()
        bad = self.trainer.not_finite()
        if bad:
            raise NotFiniteError(
                f"after step {self._done} {len(bad)} tensors hold NaN or infinite values, {bad[0]!r} first", hint=CALMER
            )
        self._saved = self._done
        if self._is_main:
            state = {
                "step": self._done,
                "recipe": self._recipe.to_dict(),
                "data_sha256": self._material.train.sha256,
                "trainer": self.trainer.state(),
                "losses": [loss.cpu() for loss in self._losses],
                "seconds": self.seconds,
            }
            save_checkpoint(self._out / CHECKPOINTS, self._done, state)

    def _stops(self, stopped: Callable[[], bool]) -> bool:
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return stopped()
        if self._done % self._asked.log_every and self._done < self.plan.steps:
            return False
        # All stop at the same step, or those that go on would wait for the others for ever.
        if stopped():
            accelerator.set_trigger()
        return bool(accelerator.check_trigger())


def _told(score: Score) -> dict[str, Any]:
    return {"data": score.data, "accuracy": score.value, "n": score.n, "low": score.low, "high": score.high}


@contextmanager
def _signalled() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: a step is not torn apart by it. A second one ends the run at once."""
    caught = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        if caught.is_set():
            raise KeyboardInterrupt
        caught.set()

    if threading.current_thread() is not threading.main_thread():
        yield caught.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield caught.is_set
    finally:
        signal.signal(signal.SIGINT, before)
