"""``efface export``: writes a model in the format of transformers or of open_clip."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from efface.cli.lines import err
from efface.cli.options import MODEL, AsJson
from efface.export.place import check_format, check_new, model_of
from efface.model_names import check_model


def export(
    model: Annotated[str, typer.Argument(help=f"a run folder, or a model: {MODEL}")],
    to: Annotated[str, typer.Option(help="transformers or open_clip")],
    out: Annotated[Path, typer.Option(help="the folder, which must not exist")],
    as_json: AsJson = False,
) -> int:
    """Writes a model in the format of transformers or of open_clip, and says how far its logits are from the base's."""
    check_format(to)
    check_new(out, hint="choose another --out")
    check_model(model_of(model))

    from efface.backends import load
    from efface.export.convert import convert

    made = convert(load(model_of(model)), to, out)
    for what, difference, allowed in (
        ("logit", f"{made.largest_logit_difference:.2g}", f"{made.allowed_logit_difference:g}"),
        ("prepared pixel", f"{made.largest_pixel_difference:.2g} of 255", f"{made.allowed_pixel_difference:g}"),
    ):
        err.print(Text(f"largest difference of a {what}: {difference} (allowed: {allowed})"), soft_wrap=True)
    sys.stdout.write(made.to_json() if as_json else f"{out}\n")
    return 0
