"""``efface pretrain``: trains a CLIP from random weights, as a recipe says."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.lines import Stopped, err
from efface.cli.options import DEFAULT_WORKERS, AsJson, BatchSize, Device, Workers, torch_device
from efface.data.formats import CAPTIONED, check_source


def pretrain(  # noqa: PLR0913 (one parameter an option)
    recipe: Annotated[Path, typer.Argument(help="a recipe in TOML; docs/pretraining.md shows one")],
    out: Annotated[Path, typer.Option(help="the folder for model, log, checkpoints and card")],
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the last checkpoint in the folder, or begin")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a pre-training that stands there")] = False,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="TABLE.NAME=VALUE", help="a value of the recipe, such as training.steps=100"),
    ] = [],  # noqa: B006
    as_json: AsJson = False,
    device: Device = "auto",
    eval_batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
) -> int:
    """Trains a CLIP from random weights, and measures its zero-shot accuracy."""
    from efface.pretraining.place import begun, check_place
    from efface.pretraining.recipe import read_recipe
    from efface.settings import parse_pairs

    check_place(out, resume=resume, overwrite=overwrite)
    before = begun(out)
    asked = read_recipe(recipe, parse_pairs(set_))
    check_source(asked.data.train, hint=CAPTIONED)
    for source in asked.data.validation:
        check_source(source)
    on = torch_device(device)

    from efface import pretraining
    from efface.console import Terminal

    options = pretraining.Options(on, workers, eval_batch_size, Terminal(err))
    try:
        done = pretraining.pretrain(asked, out=out, resume=resume, overwrite=overwrite, options=options)
    except (pretraining.Interrupted, KeyboardInterrupt) as error:
        after = begun(out)
        if after is None or (after == before and not resume):
            raise  # nothing of this run is there
        raise Stopped(
            str(error) or f"interrupted; what was done up to the last checkpoint is in {out}",
            hint=f"run the command again with --resume{' in the place of --overwrite' * overwrite} to go on",
        ) from None
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks
        return 0
    for score in done.scores:
        err.print(f"{score.data}: {100 * score.value:.1f} % of {score.n} right", markup=False, soft_wrap=True)
    found = {"folder": str(done.folder), "steps": done.steps, "seconds": done.seconds}
    found |= {"scores": [asdict(score) for score in done.scores]}
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n" if as_json else f"{out}\n")
    return 0
