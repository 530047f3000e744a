"""The verb pretrain: from a recipe to a folder with a model, its log and its checkpoints."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from efface import backends
from efface.backends.base import not_finite
from efface.device import usable_device
from efface.errors import NotFiniteError
from efface.evaluation.base import Score
from efface.pretraining.batches import Schedule, schedule
from efface.pretraining.card import render_card
from efface.pretraining.checkpoints import check_same
from efface.pretraining.loop import Loop
from efface.pretraining.material import Material, Options
from efface.pretraining.place import CHECKPOINTS, INITIAL, MODEL, RECIPE, check_place, stored_recipe
from efface.pretraining.recipe import Recipe
from efface.pretraining.toml import to_toml
from efface.pretraining.towers import exported, load_initial, write_initial
from efface.pretraining.trainer import Trainer, accelerator_for, own_state
from efface.types import Reporter
from efface.whole import written_whole


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What came out.

    Attributes:
        folder: with the model, the recipe, the log, the checkpoints and a card.
        steps: that were done in all.
        seconds: of training, over all its parts.
        scores: zero-shot accuracy of the exported weights on each validation source.
    """

    folder: Path
    steps: int
    seconds: float
    scores: tuple[Score, ...]


def pretrain(
    recipe: Recipe, *, out: Path, resume: bool = False, overwrite: bool = False, options: Options | None = None
) -> Pretrained:
    """Trains a CLIP from random weights, and writes it in its family's format.

    On a CPU the same recipe, data, threads and versions give the same weights, bit for bit, also when the run was
    stopped and resumed. Where a launcher started several processes, they share each batch. Until all that can be
    checked before the first step has been, nothing in ``out`` is made, changed or replaced.

    Args:
        recipe: what is trained, on what, and how.
        out: the folder.
        resume: go on from the last checkpoint in ``out``, or begin where there is none.
        overwrite: replace a folder of an earlier pre-training.
        options: device, workers and reporter.

    Raises:
        InputError: If recipe, data or folder cannot be used, or do not belong to what is resumed.
        NotFiniteError: If a loss or a weight is NaN or infinite.
        Interrupted: At a signal to stop; a checkpoint was written.
        OSError: If something cannot be written.
    """
    options = options or Options()
    out = out.absolute()
    check_place(out, resume=resume, overwrite=overwrite)
    if resume and (out / RECIPE).is_file():
        check_same(recipe.to_dict(), stored_recipe(out), out)
    with own_state():
        accelerator = accelerator_for(recipe.training, options.device)
        # After the accelerator, so that each of several processes tries the GPU that it was given.
        asked = usable_device(options.device)
        is_alone = accelerator.num_processes == 1 or accelerator.device.type == "cpu"
        device = asked if is_alone else accelerator.device
        # The caller's random numbers are the caller's.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            material = Material(recipe, options)
            plan = _plan(recipe, material)
            # All have looked at the folder before one of them changes it.
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                _begin(recipe, out, material, resume=resume)
            accelerator.wait_for_everyone()
            clip = load_initial(recipe, out / CHECKPOINTS / INITIAL, device)
            material.preprocess.inner = clip.preprocess
            loop = Loop(recipe, out, material, Trainer(clip, recipe, accelerator), plan)
            if resume:
                loop.resume_()
            loop.run_(options.reporter)
            return _finish(recipe, out, loop, material, options.reporter)


def _plan(recipe: Recipe, material: Material) -> Schedule:
    asked, data = recipe.training, recipe.data
    plan = schedule(
        len(material.train), batch_size=asked.batch_size, steps=asked.steps, epochs=asked.epochs, seed=asked.seed
    )
    return replace(
        plan,
        levels=material.levels,
        first_levels=data.first_levels,
        first_steps=data.first_steps,
        shift=asked.shift,
    )


def _begin(recipe: Recipe, out: Path, material: Material, *, resume: bool) -> None:
    """Writes what a run starts from, unless it is there; the folder of an earlier run is replaced at the very end."""
    initial = out / CHECKPOINTS / INITIAL
    if resume and (out / RECIPE).is_file():
        if not initial.is_dir():
            write_initial(recipe, material.vocabulary(), initial)
        return
    with written_whole(out) as partial:
        made = partial / CHECKPOINTS / INITIAL
        write_initial(recipe, material.vocabulary(), made)
        load_initial(recipe, made, torch.device("cpu"))  # what can be built cannot always be read
        (partial / RECIPE).write_text(to_toml(recipe.to_dict()), encoding="utf-8")


def _finish(recipe: Recipe, out: Path, loop: Loop, material: Material, reporter: Reporter) -> Pretrained:
    """Measures the weights as they are stored, and writes them with their card."""
    trainer = loop.trainer
    clip = exported(trainer.finish_(), recipe)
    bad = not_finite(clip.encoder.module.state_dict())
    if bad:
        raise NotFiniteError(
            f"in {recipe.model.stored} {len(bad)} tensors hold NaN or infinite values, {bad[0]!r} first",
            hint="lower training.learning_rate, or set model.stored to fp32",
        )
    found: tuple[Score, ...] = ()
    if trainer.accelerator.is_main_process:
        found = material.judge(clip, reporter)
        card = render_card(recipe, found, loop.plan, loop.seconds, material.train, trainer.bias)
        with written_whole(out / MODEL) as partial:
            backends.save(clip, partial)
        with written_whole(out / "README.md") as partial:
            partial.write_text(card, encoding="utf-8")
    trainer.accelerator.wait_for_everyone()
    return Pretrained(out, loop.plan.steps, loop.seconds, found)
