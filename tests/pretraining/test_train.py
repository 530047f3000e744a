"""From a recipe to a folder, by one process and by two."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import efface
from efface.backends.base import digest
from efface.errors import InputError
from efface.pretraining import Options, pretrain
from efface.pretraining.checkpoints import last_checkpoint
from efface.pretraining.recipe import read_recipe, recipe_from
from efface.pretraining.toml import to_toml
from efface.pretraining.trainer import own_state
from tests.pretraining.recipes import tables
from tests.worlds import World


def _tables(world: World, **training: Any) -> dict[str, Any]:
    given = tables(world.data, **training)
    given["data"]["validation"] = [world.data]
    return given


def test_the_folder_holds_all_that_came_out(world: World, tmp_path: Path) -> None:
    given = _tables(world)
    given["model"]["stored"] = "fp16"
    recipe, before = recipe_from(given), torch.get_rng_state()
    done = pretrain(recipe, out=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"model", "log.jsonl", "recipe.toml", "checkpoints", "README.md"}
    assert read_recipe(tmp_path / "run" / "recipe.toml") == recipe
    # What is reported is what the written weights do, rounding included.
    clip = efface.load(f"local-dir:{tmp_path / 'run' / 'model'}")
    found = efface.evaluate(clip, data=[world.data], templates=recipe.data.templates)
    (score,) = [s for s in found.scores.after if s.metric == "acc1" and s.split == "all" and s.towers == "both"]
    assert [score.value] == [s.value for s in done.scores]
    assert f"{100 * score.value:.1f}" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_training_learns(world: World, tmp_path: Path) -> None:
    pretrain(recipe_from(_tables(world, steps=60, log_every=10)), out=tmp_path / "run")
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0] - 0.2


def test_workers_and_a_second_run_change_nothing(world: World, tmp_path: Path) -> None:
    digests = []
    for name, workers in (("a", 0), ("b", 2), ("c", 0)):
        pretrain(recipe_from(_tables(world)), out=tmp_path / name, options=Options(workers=workers))
        clip = efface.load(f"local-dir:{tmp_path / name / 'model'}")
        digests.append(digest(clip.encoder.module.state_dict()))
    assert digests[0] == digests[1] == digests[2]


def test_a_class_that_is_left_out_is_not_seen(world: World, tmp_path: Path) -> None:
    given = _tables(world, weight_decay=0.0)
    given["data"]["without"] = {"classes": ["dog"]}
    pretrain(recipe_from(given), out=tmp_path / "run")
    assert "8 images" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert _trained(tmp_path / "run", "cat", "dog", "fox") == {"cat", "fox"}


def _trained(out: Path, *words: str) -> set[str]:
    """The words that stood in captions: others have no gradient, and without weight decay stay as they were drawn."""
    initial, after = (efface.load(f"local-dir:{out / folder}") for folder in ("checkpoints/initial", "model"))
    tables = [dict(clip.encoder.module.named_parameters())["token_embedding.weight"] for clip in (initial, after)]
    moved = (tables[0] != tables[1]).any(1)
    return {word for word in words if moved[int(after.tokenize([word])[0, 1])]}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"levels": [1]}, {"drawing"}),
        ({"levels": [1], "first_levels": [0], "first_steps": 2}, {"photo", "drawing"}),
        ({"levels": [1], "first_levels": [2], "first_steps": 6}, {"sketch"}),
    ],
)
def test_only_the_levels_that_are_asked_for_are_trained_on(
    world: World, tmp_path: Path, levels: dict[str, Any], expected: set[str]
) -> None:
    given = _tables(world, weight_decay=0.0)
    given["data"] |= {"templates": ["photo {}", "drawing {}", "sketch {}"], **levels}
    pretrain(recipe_from(given), out=tmp_path / "run")
    assert _trained(tmp_path / "run", "photo", "drawing", "sketch") == expected


def test_a_folder_is_replaced_only_when_asked(world: World, tmp_path: Path) -> None:
    recipe = recipe_from(_tables(world))
    pretrain(recipe, out=tmp_path / "run")
    with pytest.raises(InputError, match="exists"):
        pretrain(recipe, out=tmp_path / "run")
    other = recipe_from(_tables(world, steps=3))
    assert pretrain(other, out=tmp_path / "run", overwrite=True).steps == 3


def test_the_settings_of_accelerate_are_the_callers(world: World, tmp_path: Path) -> None:
    with own_state():
        theirs = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=4)
        pretrain(recipe_from(_tables(world, steps=1)), out=tmp_path / "run")
        with pytest.raises(InputError, match="do not fill a batch"):
            pretrain(recipe_from(_tables(world, batch_size=99)), out=tmp_path / "other")
        assert theirs.mixed_precision == "bf16"
        assert theirs.num_processes == 1
        assert theirs.gradient_accumulation_steps == 4
        assert Accelerator(cpu=True).mixed_precision == "bf16"


def _in_processes(n: int, arguments: list[str]) -> list[str]:
    """Runs the command line in several processes at once, as a launcher does; what each says."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    started = []
    for rank in range(n):
        own = os.environ | {k: str(v) for k, v in {**group, "RANK": rank, "LOCAL_RANK": rank}.items()}
        command = [sys.executable, "-m", "efface", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=own | {"OMP_NUM_THREADS": "1"}, **pipes))
    try:
        said = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * n, said
    return [out for out, _ in said]


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(world: World, tmp_path: Path) -> None:
    given = _tables(world, steps=5, loss="siglip", batch_size=6, eval_every=2)
    given["data"]["templates"] = ["a photo of a {}.", "a {}"]
    pretrain(recipe_from(given), out=tmp_path / "one")
    (tmp_path / "r.toml").write_text(to_toml(given), encoding="utf-8")
    told = _in_processes(2, ["pretrain", str(tmp_path / "r.toml"), "--out", str(tmp_path / "two"), "--device", "cpu"])
    assert told == [f"{tmp_path / 'two'}\n", ""]  # one of them speaks
    states = [last_checkpoint(tmp_path / name / "checkpoints") for name in ("one", "two")]
    assert states[0] is not None
    assert states[1] is not None
    one, two = (state["trainer"]["towers"] for state in states if state is not None)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    # The first gradient is what Adam's first moment began as; after five steps it still holds all of them.
    moments = [
        torch.cat([entry["exp_avg"].flatten() for entry in state["trainer"]["optimizer"]["state"].values()])
        for state in states
        if state is not None
    ]
    assert (moments[0] - moments[1]).abs().max().item() < 1e-5
    logs = [(tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines() for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1])
