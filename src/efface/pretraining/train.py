"""The verb pretrain: from a recipe to a folder with a model, its log and its checkpoints."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from efface import backends
from efface.backends.base import LoadedCLIP
from efface.evaluation.base import Score
from efface.pretraining.batches import schedule
from efface.pretraining.card import render_card
from efface.pretraining.checkpoints import check_same
from efface.pretraining.loop import Loop
from efface.pretraining.material import Material, Options
from efface.pretraining.place import CHECKPOINTS, INITIAL, MODEL, RECIPE, check_place, stored_recipe
from efface.pretraining.recipe import Recipe
from efface.pretraining.toml import to_toml
from efface.pretraining.towers import exported, load_initial, write_initial
from efface.pretraining.trainer import Trainer, accelerator_for


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
    stopped and resumed. Where a launcher started several processes, they share each batch.

    Args:
        recipe: what is trained, on what, and how.
        out: the folder.
        resume: go on from the last checkpoint in ``out``, or begin where there is none.
        overwrite: replace a folder of an earlier pre-training.
        options: device, workers and reporter.

    Raises:
        InputError: If recipe, data or folder cannot be used, or do not belong to what is resumed.
        NotFiniteError: If a loss is NaN or infinite.
        Interrupted: At a signal to stop; a checkpoint was written.
    """
    options = options or Options()
    out = out.absolute()
    check_place(out, resume=resume, overwrite=overwrite)
    accelerator = accelerator_for(recipe.training, options.device)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _prepare(out, recipe, resume=resume)
    accelerator.wait_for_everyone()
    is_alone = accelerator.num_processes == 1 or accelerator.device.type == "cpu"
    device = torch.device(options.device) if is_alone else accelerator.device
    # The caller's random numbers are the caller's.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        material = Material(recipe, options)
        initial = out / CHECKPOINTS / INITIAL
        if accelerator.is_main_process and not initial.is_dir():
            write_initial(recipe, material.vocabulary(), initial)
        accelerator.wait_for_everyone()
        clip = load_initial(recipe, initial, device)
        material.preprocess.inner = clip.preprocess
        done = _train(recipe, out, material, Trainer(clip, recipe, accelerator), resume=resume, options=options)
    accelerator.end_training()
    return done


def _train(
    recipe: Recipe, out: Path, material: Material, trainer: Trainer, *, resume: bool, options: Options
) -> Pretrained:
    asked = recipe.training
    plan = schedule(
        len(material.train), batch_size=asked.batch_size, steps=asked.steps, epochs=asked.epochs, seed=asked.seed
    )
    data = recipe.data
    plan = replace(
        plan,
        levels=material.levels,
        first_levels=data.first_levels,
        first_steps=data.first_steps,
        shift=asked.shift,
    )
    loop = Loop(recipe, out, material, trainer, plan)
    if resume:
        loop.resume_()
    loop.run_(options.reporter)
    clip = exported(trainer.finish_(), recipe)
    found: tuple[Score, ...] = ()
    if trainer.accelerator.is_main_process:
        found = material.judge(clip, options.reporter)
        card = render_card(recipe, found, plan, loop.seconds, material.train, trainer.bias)
        _export(clip, card, out)
    trainer.accelerator.wait_for_everyone()
    return Pretrained(out, plan.steps, loop.seconds, found)


def _export(clip: LoadedCLIP, card: str, out: Path) -> None:
    partial = out / f".{MODEL}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    backends.save(clip, partial)
    shutil.rmtree(out / MODEL, ignore_errors=True)
    os.replace(partial, out / MODEL)
    (out / "README.md").write_text(card, encoding="utf-8")


def _prepare(out: Path, recipe: Recipe, *, resume: bool) -> None:
    if resume and (out / RECIPE).is_file():
        check_same(recipe.to_dict(), stored_recipe(out), out)
        return
    if out.exists():
        shutil.rmtree(out)
    (out / CHECKPOINTS).mkdir(parents=True)
    (out / RECIPE).write_text(to_toml(recipe.to_dict()), encoding="utf-8")
