"""``efface evaluate``: measures a model, or a model against its base."""

import sys
from typing import Annotated

import typer

from efface import hub
from efface.cli.lines import err
from efface.cli.options import (
    DEFAULT_TEMPLATES,
    DEFAULT_WORKERS,
    MODEL,
    AsJson,
    BatchSize,
    Device,
    Eval,
    Precision,
    Template,
    Workers,
    torch_device,
)


def evaluate(  # noqa: PLR0913 (one parameter an option)
    model: Annotated[str, typer.Argument(help=MODEL)],
    eval_: Eval,
    against: Annotated[str | None, typer.Option(help="the base to compare with; then with mixed towers too")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="the class whose images are the forget split")
    ] = None,
    template: Template = DEFAULT_TEMPLATES,
    as_json: AsJson = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
) -> int:
    """Measures zero-shot accuracy of a model, or of a model against its base."""
    for named in (model, against):
        hub.check(named or "")

    from efface import measuring
    from efface.backends import load
    from efface.console import Terminal, score_table
    from efface.data.prompts import templates_from

    templates = tuple(line for value in template for line in templates_from(value))
    where = torch_device(device)
    base = None if against is None else load(against, device=where, precision=precision)
    found = measuring.evaluate(
        load(model, device=where, precision=precision),
        data=eval_,
        against=base,
        name=class_name,
        templates=templates,
        options=measuring.Options(batch_size, workers, Terminal(err)),
    )
    if as_json:
        sys.stdout.write(found.to_json())
    else:
        err.print(score_table(found))
    return 0
