"""``efface verify``: checks a run against its record."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from efface.cli.lines import err, visible
from efface.cli.options import DEFAULT_WORKERS, AsJson, Device, RunFolder, Workers, torch_device
from efface.data.formats import check_source
from efface.export.place import check_run
from efface.model_names import check_model
from efface.records.signature import check_key_file

STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def verify(  # noqa: PLR0913 (one parameter an option)
    run: RunFolder,
    key: Annotated[
        Path | None, typer.Option(help="the public key of whoever should have signed the record, a PEM file")
    ] = None,
    eval_: Annotated[
        list[str],
        typer.Option("--eval", help="the run's images, where they are not where its record says; repeatable"),
    ] = [],  # noqa: B006 (typer copies it)
    rerun: Annotated[bool, typer.Option("--rerun", help="measure the scores again and compare")] = False,
    base: Annotated[str | None, typer.Option(help="the base for --rerun, if it is not where the record says")] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="how many of the images of a score may change sides in --rerun with other versions or on another "
            "machine or device, where one always may; in the same place nothing may differ",
        ),
    ] = 0.005,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: Workers = DEFAULT_WORKERS,
) -> int:
    """Checks a run: its files, its data, its signature, and with --rerun its scores. Exit code 1: something differs."""
    check_run(run)
    if key is not None:
        check_key_file(key)
    for source in eval_:
        check_source(source)
    if base is not None:
        check_model(base)

    on = torch_device(device) if rerun else "cpu"

    from efface.console import Terminal
    from efface.measuring import Options
    from efface.verifying.findings import MEANINGS
    from efface.verifying.verify import Rerun, verify

    options = Options(workers=workers, reporter=Terminal(err))
    again = Rerun(base, on, tolerance, options) if rerun else None
    found = verify(run, key=key, data=eval_, rerun=again)
    if as_json:
        sys.stdout.write(found.to_json())
        return 1 if found.failed else 0
    for check in found.checks:
        label = (f"{check.status:<8}", STYLES[check.status])
        # Else what was to be shown would read as if it held.
        meaning = MEANINGS[check.code] if check.status == "passed" else f"asked: {MEANINGS[check.code]}"
        err.print(Text.assemble(label, (f"{check.code:<10}", "bold"), meaning), soft_wrap=True)
        for reason in check.reasons:
            err.print(Text(f"{'':18}{visible(reason)}"), soft_wrap=True)
    if found.statement is not None and not found.failed:
        err.print(Text(f"the record says: {visible(found.statement)}"), soft_wrap=True)
    return 1 if found.failed else 0
