"""``efface demo``: the whole job on a model that comes with efface, with no network and no data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from efface.cli.lines import err
from efface.cli.options import AsJson, Device, check_places, slug, torch_device
from efface.errors import check_known
from efface.export.place import RECORD
from efface.symbols.catalogue import MEMBERS, TOWERS

if TYPE_CHECKING:  # it imports torch
    from efface.demo import Demo

GOLD = "gold.json"
"""Beside the record: what was measured on the model that was trained without the class."""


def demo(  # noqa: PLR0913 (one parameter an option)
    tower: Annotated[str, typer.Option(help="vit, in transformers' format, or rn, a ResNet in open_clip's")] = "vit",
    class_name: Annotated[str, typer.Option("--class", help="a sign of the embedded world, such as anchor")] = "knight",
    method: Annotated[str, typer.Option(help="efface methods lists them")] = "projection",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: runs/demo-TOWER-CLASS-METHOD-SEED")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a run folder that --out names")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Shows the whole job in about a minute: forgets a class of a small CLIP that comes with efface."""
    folder = out or Path("runs") / f"demo-{tower}-{slug(class_name)}-{method}-{seed}"
    # A demonstration is there to be run again: a folder that it chose itself is replaced.
    overwrite = overwrite or out is None
    check_places(folder, [], overwrite=overwrite)
    check_known(tower, TOWERS, "tower")
    check_known(class_name, MEMBERS, "member of the world")

    from efface.methods import method_class

    method_class(method)
    on = torch_device(device)

    from efface.console import Terminal, score_table
    from efface.demo import demonstrate
    from efface.export.folder import replace_file
    from efface.measuring import Options

    options = Options(reporter=Terminal(err))
    found = demonstrate(tower, class_name, method=method, device=on, seed=seed, options=options)
    record = found.run.record
    found.run.save(folder, overwrite=overwrite)
    if found.gold is not None:
        replace_file(folder / GOLD, found.gold.to_json())
    err.print(score_table(record, found.gold, mixed=False), crop=False)
    for line in _explained(found, folder):
        err.print(Text(line), soft_wrap=True)
    sys.stdout.write((folder / RECORD).read_text(encoding="utf-8") if as_json else f"{folder}\n")
    return 0 if record.reached else 1


def _explained(found: "Demo", folder: Path) -> list[str]:
    record, clip = found.run.record, found.run.clip
    lines = [
        f"{'done' if record.reached else 'goal missed'}: {record.reason}",
        f"gold: the same model, trained without {record.target!r}; what forgetting aims at (all of it in {GOLD})"
        if found.gold is not None
        else f"no gold model was trained without {record.target!r}: there is one for --class knight",
        f"page: {(folder / 'report.html').absolute()}",
    ]
    # A method that got no images to work on leaves no model.
    return lines if clip is None else [*lines, f"model: {(folder / 'model').absolute()}, for {clip.library}"]
