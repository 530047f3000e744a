"""How a run stops and goes on: the weights and the log must not tell that it did."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.errors import EffaceError, InputError, NotFiniteError
from efface.pretraining import Interrupted, Options, pretrain
from efface.pretraining.checkpoints import last_checkpoint
from efface.pretraining.recipe import Recipe, recipe_from
from efface.pretraining.trainer import Trainer
from tests.pretraining.recipes import tables
from tests.worlds import World


class Killed(BaseException):
    """The power goes off."""


@dataclass(frozen=True)
class At:
    """A reporter that does something after some steps."""

    step: int
    act: Callable[[], None]

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        del total
        done = 0

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            if name == "training" and steps and done == self.step:
                self.act()

        yield advance


def _kill() -> None:
    raise Killed


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def _recipe(world: World, family: str = "open_clip", **training: Any) -> Recipe:
    given = tables(world.data, family=family, **{"steps": 20, "checkpoint_every": 5, "eval_every": 8, **training})
    given["data"] |= {"validation": [world.data], "templates": ["a photo of a {}.", "a {}"]}
    return recipe_from(given)


def _state(out: Path) -> dict[str, Any]:
    found = last_checkpoint(out / "checkpoints")
    assert found is not None
    return found


def _logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def _told(out: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_s")} for line in _logged(out)]


def _flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for entry in inner for tensor in _flat(entry)]


def _same(a: Path, b: Path) -> None:
    left, right = _state(a), _state(b)
    assert left["step"] == right["step"] == 20
    mine, other = _flat(left["trainer"]), _flat(right["trainer"])
    assert len(mine) == len(other) > 50
    assert all(torch.equal(x, y) for x, y in zip(mine, other, strict=True))
    assert _told(a) == _told(b)


@pytest.mark.parametrize(
    ("family", "training"),
    [
        ("open_clip", {"ema": 0.9, "log_every": 3}),
        pytest.param("transformers", {"loss": "siglip"}, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_killed_ends_on_the_same_bits(
    world: World, tmp_path: Path, family: str, training: dict[str, Any]
) -> None:
    recipe = _recipe(world, family, **training)
    pretrain(recipe, out=tmp_path / "whole")
    with pytest.raises(Killed):
        pretrain(recipe, out=tmp_path / "killed", options=Options(reporter=At(14, _kill)))
    assert _state(tmp_path / "killed")["step"] == 10
    # Lines of steps that will be done again.
    assert _told(tmp_path / "killed")[-1]["step"] == 12
    # Another number of random draws in between must not matter.
    torch.rand(3)
    done = pretrain(recipe, out=tmp_path / "killed", resume=True)
    assert done.steps == 20
    _same(tmp_path / "whole", tmp_path / "killed")


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(world: World, tmp_path: Path) -> None:
    recipe, handler = _recipe(world), signal.getsignal(signal.SIGINT)
    pretrain(recipe, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match="after 7 of 20 steps") as caught:
        pretrain(recipe, out=tmp_path / "stopped", options=Options(reporter=At(7, _interrupt)))
    assert "--resume" in caught.value.hint
    assert signal.getsignal(signal.SIGINT) is handler
    assert _state(tmp_path / "stopped")["step"] == 7
    assert not (tmp_path / "stopped" / "model").exists()
    pretrain(recipe, out=tmp_path / "stopped", resume=True)
    _same(tmp_path / "whole", tmp_path / "stopped")


def test_where_a_worker_is_killed_it_says_so(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed. ")

    monkeypatch.setattr(Trainer, "step_", fail)
    with pytest.raises(EffaceError, match="a process that decodes images was ended from outside"):
        pretrain(_recipe(world), out=tmp_path / "run")


def test_ctrl_c_in_the_last_step_stops_too(world: World, tmp_path: Path) -> None:
    recipe = _recipe(world)
    pretrain(recipe, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match="after 20 of 20 steps"):
        pretrain(recipe, out=tmp_path / "run", options=Options(reporter=At(20, _interrupt)))
    assert not (tmp_path / "run" / "model").exists()
    pretrain(recipe, out=tmp_path / "run", resume=True)
    _same(tmp_path / "whole", tmp_path / "run")


def test_the_seconds_before_a_stop_are_counted(world: World, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        pretrain(_recipe(world), out=tmp_path / "run", options=Options(reporter=At(7, _interrupt)))
    path = tmp_path / "run" / "checkpoints" / "step-00000007.pt"
    torch.save({**torch.load(path), "seconds": 1000.0}, path)
    assert 1000 < pretrain(_recipe(world), out=tmp_path / "run", resume=True).seconds < 1500
    assert _logged(tmp_path / "run")[-1]["seconds"] > 1000


def test_a_second_ctrl_c_does_not_wait(world: World, tmp_path: Path) -> None:
    def twice() -> None:
        _interrupt()
        _interrupt()

    with pytest.raises(KeyboardInterrupt):
        pretrain(_recipe(world), out=tmp_path / "run", options=Options(reporter=At(7, twice)))
    assert _state(tmp_path / "run")["step"] == 5


def test_resume_with_nothing_there_begins_and_at_the_end_only_exports(world: World, tmp_path: Path) -> None:
    recipe = _recipe(world)
    first = pretrain(recipe, out=tmp_path / "run", resume=True)
    told = _told(tmp_path / "run")
    again = pretrain(recipe, out=tmp_path / "run", resume=True)
    assert again.scores == first.scores
    assert _told(tmp_path / "run") == told


def test_another_recipe_or_other_data_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        pretrain(_recipe(world), out=tmp_path / "run", options=Options(reporter=At(6, _kill)))
    with pytest.raises(InputError, match=r"begun with: training\.learning_rate differs$"):
        pretrain(_recipe(world, learning_rate=0.5), out=tmp_path / "run", resume=True)
    path = tmp_path / "run" / "checkpoints" / "step-00000005.pt"
    torch.save({**torch.load(path), "data_sha256": "of other images"}, path)
    with pytest.raises(InputError, match=r"begun with: data_sha256 differs$"):
        pretrain(_recipe(world), out=tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(world: World, tmp_path: Path) -> None:
    recipe = _recipe(world, learning_rate=1e30, grad_clip=0.0, log_every=20)
    with pytest.raises(NotFiniteError, match="the loss of step 2 is nan"):
        pretrain(recipe, out=tmp_path / "run")
    assert last_checkpoint(tmp_path / "run" / "checkpoints") is None


def test_weights_that_are_not_finite_are_neither_saved_nor_exported(world: World, tmp_path: Path) -> None:
    """The last update shows in no loss; 1e39 is infinite in fp32."""
    recipe = _recipe(world, steps=1, learning_rate=1e39)
    with pytest.raises(NotFiniteError, match=r"after step 1 .* tensors hold NaN or infinite"):
        pretrain(recipe, out=tmp_path / "run")
    assert last_checkpoint(tmp_path / "run" / "checkpoints") is None
    assert not (tmp_path / "run" / "model").exists()


def test_weights_that_fp16_cannot_hold_are_not_exported(world: World, tmp_path: Path) -> None:
    recipe = _recipe(world, steps=1, learning_rate=1e6)
    recipe = replace(recipe, model=replace(recipe.model, stored="fp16"))
    with pytest.raises(NotFiniteError, match=r"in fp16 .* tensors hold"):
        pretrain(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_the_log_has_what_was_asked_for(world: World, tmp_path: Path) -> None:
    pretrain(_recipe(world, log_every=8, warmup_steps=10), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert [line["step"] for line in losses] == [8, 16, 20]
    assert set(losses[0]) == {"step", "epoch", "loss", "lr", "scale", "images_per_s", "seconds"}
    assert losses[0]["lr"] == pytest.approx(8e-4)  # the eighth of ten steps up to 1e-3
    assert losses[0]["epoch"] == pytest.approx(8 / 3, abs=1e-4)  # 12 images, 4 a step
    accuracies = [line for line in lines if "accuracy" in line]
    assert [line["step"] for line in accuracies] == [8, 16]
    assert all(line["n"] == 12 and line["low"] <= line["accuracy"] <= line["high"] for line in accuracies)


def test_evaluations_and_checkpoints_leave_no_trace_in_the_weights(world: World, tmp_path: Path) -> None:
    pretrain(_recipe(world), out=tmp_path / "a")
    pretrain(_recipe(world, eval_every=0, checkpoint_every=0), out=tmp_path / "b")
    mine, other = _flat(_state(tmp_path / "a")["trainer"]), _flat(_state(tmp_path / "b")["trainer"])
    assert all(torch.equal(x, y) for x, y in zip(mine, other, strict=True))
