"""What several commands take: the types and defaults of their options, and what is made of them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from efface.data.formats import FORMATS, MADE, check_source
from efface.data.templates import IMAGENET, PUBLISHED
from efface.errors import InputError
from efface.request import TEMPLATES
from efface.sifting import NearDuplicates

_PUBLISHED = ", ".join((*IMAGENET, *PUBLISHED))
_PREFIXES = " ".join(f"{name}:" for name in (*FORMATS, MADE))
MODEL = (
    "a folder in the format of transformers or open_clip; org/repo on the Hub; NAME:TAG such as ViT-B-32:openai; a .pt "
    "file of OpenAI's; builtin:symbols-vit or builtin:symbols-rn; local-dir:FOLDER, hf-hub:org/repo: open_clip's format"
)
Model = Annotated[str, typer.Option(help=MODEL)]
Eval = Annotated[
    list[str],
    typer.Option(
        "--eval",
        help="held-out images, told apart among their own class names: a folder with one folder of images a class, a "
        f"parquet file or a folder of them, a saved data set, a CSV file, or one of {_PREFIXES} before a path or a "
        "name; repeatable",
    ),
]
_OF_EVAL = "of each --eval only the images that are so; repeatable: all of them"
_OF_CLASS = (
    "of --class only images that are so are the forget split, and its others are siblings; repeatable: all of them"
)
Where = Annotated[list[str], typer.Option("--where", "--eval-where", metavar="COLUMN=VALUE", help=_OF_EVAL)]
ForgetWhere = Annotated[list[str], typer.Option("--forget-where", metavar="COLUMN=VALUE", help=_OF_CLASS)]
Kind = Annotated[
    list[str],
    typer.Option(
        "--where",
        "--forget-where",
        metavar="COLUMN=VALUE",
        help="of the class only images that are so are to be forgotten: these of --images, and these of each --eval as "
        "the forget split, its others as siblings; repeatable: all of them",
    ),
]
EvalWhere = Annotated[list[str], typer.Option("--eval-where", metavar="COLUMN=VALUE", help=_OF_EVAL)]
OwnImages = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="your own images of it for the method to work on, in place of synthetic ones: as --eval, or a plain "
        "folder of image files of the one class",
    ),
]
RetainImages = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="your own images of what is to stay, as --eval, for a method that asks for some: other classes, other "
        "kinds of the class; those of --where are left aside",
    ),
]
CalibrationImages = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="your own images of both, as --eval, to choose a setting by; default: some of the others are put aside",
    ),
]
PoolImages = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="any images, a plain folder say: without --retain-images the model picks from them what is to stay; "
        "without either it makes images of other classes",
    ),
]
Hierarchy = Annotated[
    Path | None,
    typer.Option(
        help="which classes are siblings: a class, a tab and its group a line; default: those with the nearest texts"
    ),
]
WithNearDuplicates = Annotated[
    NearDuplicates,
    typer.Option(
        "--near-duplicates",
        help="what to do with images of yours that show the same picture as one of --eval; drop leaves them out",
    ),
]
DropOutliers = Annotated[
    bool,
    typer.Option("--drop-outliers", help="leave out those of --images that look like none of the others of the class"),
]
OnBadImage = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="what to do at an image that cannot be decoded; skip leaves it out of every n"),
]
Template = Annotated[
    list[str],
    typer.Option(
        "--template",
        help=f"a text with {{}} for the class name, a file of them, or published ones: {_PUBLISHED}",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder", show_default=False)]
Device = Annotated[str, typer.Option(help="as torch names it; auto takes a GPU where there is one")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 for towers under autocast")]
Preset = Annotated[
    str,
    typer.Option(
        help="of a method: default, or paper for the published settings, if any; lip has lipschitz too, the published "
        "loss with settings of our own"
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="images at a time in evaluation")]
Workers = Annotated[int, typer.Option(min=0, help="processes that decode images")]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="such as 4GB or 500MiB: take fewer images at a time where more would be held, by a GPU or by this process",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print everything as JSON on standard output")]

DEFAULT_TEMPLATES = list(TEMPLATES)
DEFAULT_WORKERS = min(4, os.cpu_count() or 1)


LONGEST = 100
"""Letters of a folder's name; systems take 255 bytes, and something is added to it."""


def slug(name: str) -> str:
    """A class name as part of a path: its letters and digits, joined by dashes."""
    return re.sub(r"\W+", "-", name).strip("-_").lower() or "class"


def slug_of(names: Sequence[str]) -> str:
    """Several class names as part of a path: of many the first, and how many more there are."""
    whole = slug(" ".join(names))
    return whole if len(whole) <= LONGEST else f"{slug(names[0])[:LONGEST]}-and-{len(names) - 1}-more"


def torch_device(name: str) -> str:
    """The device that an option names, after trying it: for ``auto`` a GPU where there is one.

    Raises:
        InputError: If it cannot be used.
    """
    import torch

    from efface.device import usable_device

    return str(usable_device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"))


def check_places(folder: Path, sources: list[str], *, overwrite: bool) -> None:
    """What can be refused before anything heavy loads.

    Args:
        folder: where the command will write.
        sources: held-out images, as the user gave them.
        overwrite: whether a folder of the same kind may be replaced.

    Raises:
        InputError: If the folder cannot be written, or a source that is a path does not exist.
    """
    from efface.export.place import check_out

    check_out(folder, overwrite=overwrite)
    for source in sources:
        check_source(source)


def memory_bytes(size: str | None) -> int | None:
    """The bytes that ``--max-memory`` asks for; None for None.

    Raises:
        InputError: If it is not a positive number with a unit.
    """
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kMGT]i?)?B", size.strip(), re.IGNORECASE)
    unit = (found[2] or "") if found else ""
    scale = (1024 if unit.endswith("i") else 1000) ** " kmgt".index(unit[:1].lower() or " ")
    if not found or float(found[1]) * scale < 1:
        raise InputError(f"{size!r} is no size of memory", hint="write a number and a unit, such as 4GB or 500MiB")
    return int(float(found[1]) * scale)


def columns(pairs: list[str], option: str = "--where") -> dict[str, str]:
    """What ``--where`` asks for, or another option of its kind.

    Raises:
        InputError: If a text is not of the form ``column=value``, or a column stands twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{pair!r} is not of the form column=value", hint=f"write {option} COLUMN=VALUE")
        if name in found:
            raise InputError(f"the column {name!r} is given twice", hint="give it once")
        found[name] = value
    return found
