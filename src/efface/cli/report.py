"""``efface report``: the page of a run, or of two runs side by side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.options import RunFolder
from efface.export.place import PAGE, check_file, check_run


def report(
    run: RunFolder,
    against: Annotated[Path | None, typer.Option(help="another run folder, to stand beside")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="the page, a file that ends in .html; default: report.html in RUN, or against-NAME.html"),
    ] = None,
) -> int:
    """Writes the page of a run again from its record, or a page of two runs side by side."""
    for folder in (run, *([] if against is None else [against])):
        check_run(folder)
    if out is not None:
        check_file(out, option="--out", suffix=".html")

    from efface.export.folder import page_of, read_run, replace_file
    from efface.report.compare import render_comparison
    from efface.report.rows import short_names

    record = read_run(run)
    if against is None:
        page, name = page_of(run, record), PAGE
    else:
        # As much of their paths as tells them apart.
        names = short_names(str(folder.resolve()) for folder in (run, against))
        one, other = (names[str(folder.resolve())] for folder in (run, against))
        page = render_comparison((record, read_run(against)), (one, other))
        name = f"against-{other.replace('/', '-')}.html"
    path = out or run / name
    replace_file(path, page)
    sys.stdout.write(f"{path}\n")
    return 0
