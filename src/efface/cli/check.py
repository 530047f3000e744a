"""``efface check``: has a forgotten class come back in a descendant?"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from efface.cli.lines import err, visible
from efface.cli.options import (
    DEFAULT_WORKERS,
    AsJson,
    BatchSize,
    Device,
    OnBadImage,
    Where,
    Workers,
    columns,
    torch_device,
)
from efface.data.formats import check_source
from efface.export.place import check_file, check_run
from efface.model_names import check_model

BACK, UNTOLD, PASSED = ("back            ", "bold red"), ("nothing told    ", "yellow"), ("no return told  ", "green")
"""What stands before a comparison, and its style."""


def check(  # noqa: PLR0913 (one parameter an option)
    model: Annotated[str, typer.Option(help="a model that was made from the run's, named as in efface forget --model")],
    against: Annotated[Path, typer.Option(help="the run folder in which the class was forgotten")],
    eval_: Annotated[
        list[str],
        typer.Option("--eval", help="images of the class; default: those of the run, as its record says; repeatable"),
    ] = [],  # noqa: B006 (typer copies it)
    where: Where = [],  # noqa: B006
    on_bad_image: OnBadImage = "stop",
    margin: Annotated[
        float, typer.Option(min=0, max=0.99, help="the rise in accuracy that the whole 95 % interval must lie above")
    ] = 0.05,
    notice: Annotated[
        float,
        typer.Option(
            min=0.01, max=1, help="a comparison that could call nothing smaller than this a return tells nothing"
        ),
    ] = 0.5,
    junit: Annotated[Path | None, typer.Option(help="write the outcome as JUnit too, a file that ends in .xml")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
) -> int:
    """Says whether a forgotten class is back in a model that was made from the result. Exit code 1: it is.

    Exit code 0: no comparison that tells something says so. Exit code 2: none tells anything.
    """
    if junit is not None:
        check_file(junit, option="--junit", suffix=".xml")
        # What an earlier check wrote must not stand for this one, however it ends.
        junit.unlink(missing_ok=True)
    wanted = columns(where)
    check_run(against)
    for source in eval_:
        check_source(source)
    check_model(model)

    on = torch_device(device)

    from efface.console import Terminal
    from efface.export.folder import replace_file
    from efface.measuring import Options
    from efface.report.environment import now
    from efface.verifying.check import check
    from efface.verifying.junit import WHOSE, said
    from efface.verifying.junit import junit as as_junit

    begun, started = now(), time.perf_counter()
    options = Options(batch_size, workers, Terminal(err), wanted, on_bad_image)
    found = check(model, against, data=eval_, margin=margin, notice=notice, device=on, options=options)
    if junit is not None:
        replace_file(junit, as_junit(found, seconds=time.perf_counter() - started, timestamp=begun))
    if as_json:
        sys.stdout.write(found.to_json())
    names = {case.name for case in found.cases}
    for case in () if as_json else found.cases:
        label = BACK if case.back else UNTOLD if case.untold else PASSED
        data = case.data if len(names) == 1 else f"{case.name} on {case.data}"
        err.print(Text.assemble(label, visible(f"{data}, {WHOSE[case.towers]}: {said(case)}")), soft_wrap=True)
    return 1 if found.back else 0
