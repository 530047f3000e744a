"""``efface audit``: tries to bring a forgotten class back."""

import sys
from collections.abc import Mapping
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
    OnBadImage,
    Template,
    Workers,
    torch_device,
)
from efface.data.files import lines_of
from efface.data.formats import check_source
from efface.data.prompts import templates_from
from efface.errors import InputError
from efface.export.place import AUDIT, check_file, check_run
from efface.model_names import check_model


def audit(  # noqa: PLR0913 (one parameter an option)
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="a run folder; or name two models", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help=f"without RUN: the edited model: {MODEL}")] = None,
    against: Annotated[
        str | None, typer.Option(help="the model that it was made from; of a run, if its record names another place")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="a model that was trained as the base was, without the class, to stand beside")
    ] = None,
    class_: Annotated[str | None, typer.Option("--class", help="the class; of a run, where it forgot several")] = None,
    eval_: Annotated[
        str | None, typer.Option("--eval", help="held-out images that judge; of a run by default its own")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="the attacker's images, of the class and of others; default: half of the held-out ones"),
    ] = None,
    members: Annotated[
        str | None, typer.Option(help="images that the original was trained on, for the attack membership")
    ] = None,
    word: Annotated[
        list[str],
        typer.Option("--word", help="another name that the class is asked for by, or a file of them; repeatable"),
    ] = [],  # noqa: B006 (typer copies it)
    beside: Annotated[
        list[str],
        typer.Option("--beside", help="without RUN: another class that was forgotten too, so no control; repeatable"),
    ] = [],  # noqa: B006
    attack: Annotated[list[str], typer.Option("--attack", help="tries this one; repeatable; default: all")] = [],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="of all attacks those that are quick alone")] = False,
    template: Template = DEFAULT_TEMPLATES,
    seed: Annotated[int, typer.Option(min=0, help="of all random numbers")] = 0,
    out: Annotated[Path | None, typer.Option(help="without RUN: a file for what was found, that ends in .json")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="try again what was tried, and replace an audit of another subject")
    ] = False,
    on_bad_image: OnBadImage = "stop",
    as_json: AsJson = False,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
) -> int:
    """Tries to bring a forgotten class back, and says what that says. Exit code 1: one brings it back, or fails."""
    if run is None:
        _check_models({"--model": model, "--against": against, "--class": class_, "--eval": eval_}, out)
    else:
        of_models = {"--model": model, "--out": out, "--beside": beside, "--template": template != DEFAULT_TEMPLATES}
        _check_run(run, [option for option, is_given in of_models.items() if is_given])
    for check, given in ((check_source, (eval_, images, members)), (check_model, (model, against, gold))):
        for value in filter(None, given):
            check(value)
    templates = tuple(line for one in template for line in templates_from(one))
    words = [line for one in word for line in (lines_of(Path(one)) if Path(one).is_file() else (one,))]

    from efface.attacks.registry import chosen_attacks

    chosen_attacks(attack)
    on = torch_device(device)

    from efface.auditing import run as auditing
    from efface.auditing.asking import Wanted
    from efface.backends import load
    from efface.console import Terminal, audit_table
    from efface.measuring import Options

    options = Options(batch_size, workers, Terminal(err), on_bad_image=on_bad_image)
    wanted = Wanted(tuple(attack), quick, images, seed, options, members)
    if run is not None:
        found = auditing.audit_run(
            run,
            name=class_,
            against=against,
            gold=gold,
            data=eval_,
            device=on,
            words=words,
            wanted=wanted,
            overwrite=overwrite,
        )
        out = run / AUDIT
    else:
        found = auditing.audit(
            load(str(model), device=on),
            str(class_),
            against=load(str(against), device=on),
            gold=None if gold is None else load(gold, device=on),
            data=str(eval_),
            aliases=words,
            beside=beside,
            templates=templates,
            wanted=wanted,
            out=out,
            overwrite=overwrite,
        )
    if as_json:
        sys.stdout.write(found.to_json())
    else:
        err.print(*audit_table(found), sep="\n")
        if out is not None:
            sys.stdout.write(f"{out}\n")
    return 1 if found.verdict.revived or found.verdict.incomplete else 0


def _check_run(run: Path, both: list[str]) -> None:
    """Refuses what is no run, and what a run has of its own."""
    check_run(run)
    if both:
        raise InputError(f"{both[0]} goes with two models, not with a run", hint=f"leave {both[0]} out, or RUN")


def _check_models(needed: Mapping[str, str | None], out: Path | None) -> None:
    """Refuses what names no two models."""
    lacking = [option for option, given in needed.items() if given is None]
    if lacking:
        hint = "give a run folder, or --model, --against, --class and --eval"
        raise InputError(f"without RUN an audit needs {', '.join(lacking)}", hint=hint)
    if out is not None:
        check_file(out, option="--out", suffix=".json")
