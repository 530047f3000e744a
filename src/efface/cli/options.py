"""What several commands take: the types and defaults of their options, and what is made of them."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from efface.request import TEMPLATES

MODEL = (
    "a folder in the format of transformers or open_clip; org/repo on the Hub; NAME:TAG such as ViT-B-32:openai; a .pt "
    "file of OpenAI's; builtin:symbols-vit or builtin:symbols-rn; local-dir:FOLDER, hf-hub:org/repo: open_clip's format"
)
Model = Annotated[str, typer.Option(help=MODEL)]
Eval = Annotated[
    list[str],
    typer.Option(
        "--eval",
        help="held-out images, told apart among their own class names: a parquet file, a folder of them, "
        "a folder of class folders, or symbols:test (the embedded world); repeatable",
    ),
]
Template = Annotated[list[str], typer.Option("--template", help="a text with {} for the class name, or a file of them")]
Device = Annotated[str, typer.Option(help="as torch names it; auto takes a GPU where there is one")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 for towers under autocast")]
BatchSize = Annotated[int, typer.Option(min=1, help="images at a time in evaluation")]
Workers = Annotated[int, typer.Option(min=0, help="processes that decode images")]
AsJson = Annotated[bool, typer.Option("--json", help="print everything as JSON on standard output")]

DEFAULT_TEMPLATES = list(TEMPLATES)
DEFAULT_WORKERS = min(4, os.cpu_count() or 1)
# A source of images that starts so is made, not read: the data layer checks what follows.
MADE = "symbols:"


def slug(name: str) -> str:
    """A class name as part of a path: its letters and digits, joined by dashes."""
    return re.sub(r"\W+", "-", name).strip("-_").lower() or "class"


def torch_device(name: str) -> str:
    """The device that an option names: for ``auto`` a GPU where there is one."""
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def check_places(folder: Path, sources: list[str], *, overwrite: bool) -> None:
    """What can be refused before anything heavy loads.

    Args:
        folder: where the command will write.
        sources: held-out images, as the user gave them.
        overwrite: whether a folder of the same kind may be replaced.

    Raises:
        InputError: If the folder cannot be written, or a source that is a path does not exist.
    """
    from efface.data.files import must_exist
    from efface.export.place import check_out

    check_out(folder, overwrite=overwrite)
    for source in sources:
        if not source.startswith(MADE):
            must_exist(
                Path(os.path.expanduser(source)), hint="give a parquet file, or a folder of them or of class folders"
            )
