"""``efface evaluate``: measures a model, or a model against its base."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.lines import err
from efface.cli.options import (
    DEFAULT_TEMPLATES,
    DEFAULT_WORKERS,
    MODEL,
    AsJson,
    BatchSize,
    Device,
    Eval,
    ForgetWhere,
    MaxMemory,
    OnBadImage,
    Precision,
    Template,
    Where,
    Workers,
    columns,
    memory_bytes,
    torch_device,
)
from efface.data.formats import check_source
from efface.data.prompts import templates_from
from efface.export.place import check_free
from efface.model_names import check_model


def evaluate(  # noqa: PLR0913 (one parameter an option)
    model: Annotated[str, typer.Argument(help=MODEL)],
    eval_: Eval,
    against: Annotated[str | None, typer.Option(help="the base to compare with; then with mixed towers too")] = None,
    gold: Annotated[
        str | None, typer.Option(help="with --against: a model that was trained without the class, to stand beside")
    ] = None,
    class_: Annotated[
        list[str], typer.Option("--class", help="the class whose images are the forget split; repeatable")
    ] = [],  # noqa: B006 (typer copies it)
    forget_where: ForgetWhere = [],  # noqa: B006 (typer copies it)
    where: Where = [],  # noqa: B006
    on_bad_image: OnBadImage = "stop",
    template: Template = DEFAULT_TEMPLATES,
    out: Annotated[
        Path | None, typer.Option(help="a new folder for the scores as CSV and in CLIP_benchmark's format")
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
    max_memory: MaxMemory = None,
) -> int:
    """Measures zero-shot accuracy of a model, or of a model against its base."""
    if out is not None:
        check_free(out)
    for named in (model, against, gold):
        if named is not None:
            check_model(named)
    for source in eval_:
        check_source(source)
    wanted, limit, kind = columns(where), memory_bytes(max_memory), columns(forget_where, "--forget-where")
    templates = tuple(line for value in template for line in templates_from(value))

    on = torch_device(device)

    from efface import measuring
    from efface.backends import load
    from efface.console import Terminal, score_table
    from efface.export.results import write_results
    from efface.report.record import Scores

    base = None if against is None else load(against, device=on, precision=precision)
    found = measuring.evaluate(
        load(model, device=on, precision=precision),
        data=eval_,
        against=base,
        gold=None if gold is None else load(gold, device=on, precision=precision),
        name=class_,
        forget_where=kind,
        templates=templates,
        options=measuring.Options(batch_size, workers, Terminal(err), wanted, on_bad_image, limit),
    )
    # Before writing, which may fail: the scores cost more than a full disk is worth.
    if as_json:
        sys.stdout.write(found.to_json())
    else:
        beside = replace(found, scores=Scores(after=found.gold)) if found.gold else None
        err.print(score_table(found, beside), crop=False)
    if out is not None:
        write_results(out, found)
        if not as_json:
            sys.stdout.write(f"{out}\n")
    return 0
