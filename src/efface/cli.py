"""The command line: parse, call, print. What it does is in the pipeline.

Standard output carries data or the path that was written; people read standard error. Exit code 0: done; 1: a goal was
missed, or the run failed; 2: bad input, or a file that cannot be read or written; 130: interrupted.
"""

import json
import os
import re
import sys
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from efface.errors import EffaceError, EffaceWarning, InputError
from efface.request import TEMPLATES, ClassTarget, ForgetRequest

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
err = Console(stderr=True)

Model = Annotated[str, typer.Option(help="local-dir:FOLDER in open_clip's format, or NAME:TAG such as ViT-B-32:openai")]
Eval = Annotated[
    list[str],
    typer.Option(
        "--eval",
        help="held-out images, told apart among their own class names: a parquet file, a folder of them, "
        "or a folder of class folders; repeatable",
    ),
]
Template = Annotated[list[str], typer.Option("--template", help="a text with {} for the class name, or a file of them")]
Device = Annotated[str, typer.Option(help="as torch names it; auto takes a GPU where there is one")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 for towers under autocast")]
BatchSize = Annotated[int, typer.Option(min=1, help="images at a time in evaluation")]
Workers = Annotated[int, typer.Option(min=0, help="processes that decode images")]
AsJson = Annotated[bool, typer.Option("--json", help="print everything as JSON on standard output")]

DEFAULT_TEMPLATES = list(TEMPLATES)
INTERRUPTED = 130
WORKERS = min(4, os.cpu_count() or 1)


@app.callback(invoke_without_command=True)
def about(show_version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False) -> None:
    """Removes a class from a CLIP model, keeps the rest, and writes down what it measured."""
    if show_version:
        sys.stdout.write(f"{version('efface')}\n")
        raise typer.Exit


@app.command()
def forget(  # noqa: PLR0913 (one parameter an option)
    model: Model,
    class_name: Annotated[str, typer.Option("--class", help="the class to forget")],
    eval_: Eval = [],  # noqa: B006 (typer copies it)
    classnames: Annotated[
        Path | None,
        typer.Option(
            help="the class names that the method tells apart, one a line; default: ImageNet-1k's, and the class"
        ),
    ] = None,
    template: Template = DEFAULT_TEMPLATES,
    method: Annotated[str, typer.Option(help="efface methods lists them")] = "lip",
    preset: Annotated[str, typer.Option(help="default, or paper for the published settings, if any")] = "default",
    set_: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="a setting; synthesis.NAME=VALUE for the images")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: runs/CLASS-METHOD")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a run folder that stands there")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved plan and stop")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 256,
    workers: Workers = WORKERS,
) -> int:
    """Forgets a class by its name, measures what changed, and writes a run folder."""
    folder = out or Path("runs") / f"{slug(class_name)}-{method}"
    _check_places(folder, eval_, overwrite=overwrite or dry_run)
    request = _request(class_name, classnames, template, seed)

    from efface.methods import method_preset
    from efface.settings import parse_pairs, with_settings
    from efface.synthesis import preset_synthesizer

    pairs = parse_pairs(set_)
    of_synthesis = {k.removeprefix("synthesis."): v for k, v in pairs.items() if k.startswith("synthesis.")}
    chosen = with_settings(
        method_preset(method, preset), {k: v for k, v in pairs.items() if not k.startswith("synthesis.")}
    )
    if of_synthesis and not chosen.needs.forget_images:
        raise InputError(f"{method} makes no images: it has no {', '.join(of_synthesis)}", hint="leave it out")
    synthesizer = with_settings(preset_synthesizer(preset), of_synthesis)
    if dry_run:
        plan = {"model": model, "out": str(folder), "data": eval_, "method": method, "preset": preset}
        made = synthesizer if chosen.needs.forget_images else None
        _print_plan(plan | {"device": _device(device), "precision": precision}, request, chosen, made)
        return 0

    from efface import pipeline
    from efface.backends import load
    from efface.console import Terminal
    from efface.measuring import Options

    clip = load(model, device=_device(device), precision=precision)
    run = pipeline.forget(
        clip,
        class_name,
        among=request.among,
        method=chosen,
        preset=preset,
        synthesizer=synthesizer,
        templates=request.templates,
        data=eval_,
        seed=seed,
        options=Options(batch_size, workers, Terminal(err)),
    )
    run.save(folder, overwrite=overwrite)
    return _report_run(run.record, folder, as_json=as_json)


@app.command()
def evaluate(  # noqa: PLR0913 (one parameter an option)
    model: Annotated[str, typer.Argument(help="local-dir:FOLDER in open_clip's format, or NAME:TAG")],
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
    workers: Workers = WORKERS,
) -> int:
    """Measures zero-shot accuracy of a model, or of a model against its base."""
    from efface import measuring
    from efface.backends import load
    from efface.console import Terminal, score_table
    from efface.data.prompts import templates_from

    templates = tuple(line for value in template for line in templates_from(value))
    where = _device(device)
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


@app.command()
def methods(as_json: AsJson = False) -> int:
    """Lists the methods, what each needs, and its settings."""
    from efface.methods import PRESETS, method_names, method_preset
    from efface.settings import describe
    from efface.synthesis import PRESETS as SYNTHESES

    listed: list[dict[str, Any]] = []
    for name in method_names():
        default = method_preset(name, "default")
        presets = PRESETS.get(name, {"default": default})
        listed.append(
            {
                "name": name,
                "summary": default.summary,
                "needs": {"forget_images": default.needs.forget_images, "prompt": default.needs.prompt},
                "presets": {preset: describe(method) for preset, method in presets.items()},
                "synthesis": describe(SYNTHESES["default"]) if default.needs.forget_images else [],
            }
        )
    if as_json:
        sys.stdout.write(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    else:
        from efface.console import method_tables

        out = Console()
        for method in listed:
            out.print(*method_tables(method))
    return 0


def slug(name: str) -> str:
    """A class name as part of a path: its letters and digits, joined by dashes."""
    return re.sub(r"\W+", "-", name).strip("-_").lower() or "class"


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", EffaceWarning)
            warnings.showwarning = _warn
            code = app(arguments or ["--help"], standalone_mode=False)
        if code == INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except EffaceError as error:
        _say(str(error), error.hint)
        return 2 if isinstance(error, InputError) else 1
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _say(message[:1].lower() + message[1:].rstrip("."), "efface COMMAND --help lists the options")
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}", "nothing half-written was left; check the path and the free space")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted", "nothing was written; run the command again")
        return INTERRUPTED


def _say(message: str, hint: str) -> None:
    """One error line and one hint line, whatever the terminal's width."""
    _line("error", message)
    _line("hint", hint)


def _line(label: str, text: str) -> None:
    style = "bold red" if label == "error" else "bold"
    err.print(Text.assemble((f"{label}: ", style), " ".join(text.split())), soft_wrap=True)


def _warn(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """One warning line; Python's own way would show a line of source too."""
    del where, more
    _line("warning", str(message) if issubclass(category, EffaceWarning) else f"{category.__name__}: {message}")


def _request(class_name: str, classnames: Path | None, template: list[str], seed: int) -> ForgetRequest:
    from efface.data.prompts import class_names_from, imagenet_names, templates_from

    if classnames is not None:
        names = class_names_from(classnames)
    else:
        names = imagenet_names()
        names = names if class_name in names else (*names, class_name)
    templates = tuple(line for value in template for line in templates_from(value))
    return ForgetRequest(ClassTarget(class_name), names, templates, seed)


def _check_places(folder: Path, sources: list[str], *, overwrite: bool) -> None:
    """What can be refused before anything heavy loads."""
    from efface.data.files import must_exist
    from efface.export.place import check_out

    check_out(folder, overwrite=overwrite)
    for source in sources:
        must_exist(Path(source).expanduser(), hint="give a parquet file, or a folder of them or of class folders")


def _device(name: str) -> str:
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _print_plan(plan: dict[str, Any], request: ForgetRequest, method: object, synthesizer: object) -> None:
    parts = {"request": request, "settings": method, "synthesis": synthesizer}
    plan |= {name: None if part is None else asdict(part) for name, part in parts.items()}  # type: ignore[call-overload]
    sys.stdout.write(json.dumps(plan, indent=1, ensure_ascii=False) + "\n")


def _report_run(record: Any, folder: Path, *, as_json: bool) -> int:
    from efface.console import score_table

    if record.data:
        err.print(score_table(record))
    else:
        err.print("nothing was measured: give held-out images with --eval")
    state = "done" if record.reached else "goal missed"
    err.print(Text(f"{state}: {record.reason}", style="bold"), soft_wrap=True)
    err.print(f"{record.seconds:.0f} s, {record.peak_memory_bytes / 2**30:.1f} GiB at most")
    sys.stdout.write(record.to_json() if as_json else f"{folder}\n")
    return 0 if record.reached else 1
