"""``efface report``: the page of a run, or of two runs side by side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.options import RunFolder
from efface.export.place import PAGE, check_new, check_run


def report(
    run: RunFolder,
    against: Annotated[Path | None, typer.Option(help="another run folder, to stand beside")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="a new file for the page; default: report.html in RUN, or against-NAME.html there"),
    ] = None,
) -> int:
    """Writes the page of a run again from its record, or a page of two runs side by side."""
    for folder in (run, against or run):
        check_run(folder)
    if out is not None:
        check_new(out, hint="choose another --out")

    from efface.export.folder import page_of, read_run, replace_file
    from efface.report.compare import render_comparison

    record = read_run(run)
    if against is None:
        page, name = page_of(run, record), PAGE
    else:
        other = against.resolve().name
        page = render_comparison((record, read_run(against)), (run.resolve().name, other))
        name = f"against-{other}.html"
    path = out or run / name
    replace_file(path, page)
    sys.stdout.write(f"{path}\n")
    return 0
