"""``efface forget``: forgets a class and writes a run folder."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from efface.cli.lines import Stopped, err, of_system
from efface.cli.options import (
    DEFAULT_TEMPLATES,
    DEFAULT_WORKERS,
    Alias,
    AsJson,
    BatchSize,
    Device,
    DropOutliers,
    Eval,
    MaxMemory,
    Model,
    OnBadImage,
    Phrase,
    Precision,
    Preset,
    Template,
    Where,
    WithNearDuplicates,
    Workers,
    check_places,
    columns,
    memory_bytes,
    slug_of,
    torch_device,
)
from efface.errors import EffaceError, InputError, NotFiniteError
from efface.export.place import RECORD, beside
from efface.model_names import check_model
from efface.paths import named
from efface.request import ForgetRequest, targets_of
from efface.sifting import Sifting

SYNTHESIS = "synthesis."
"""What a setting of the images that a method works on begins with."""

if TYPE_CHECKING:  # they need torch, which is slow to import
    from efface.methods.base import ForgetMethod
    from efface.synthesis.base import Synthesizer

    Chosen = tuple[ForgetMethod, Synthesizer]


def forget(  # noqa: PLR0913 (one parameter an option)
    model: Model,
    class_: Annotated[list[str], typer.Option("--class", help="the class to forget; repeatable")],
    eval_: Eval = [],  # noqa: B006 (typer copies it)
    classnames: Annotated[
        Path | None,
        typer.Option(
            help="the class names that the method tells apart, one a line; default: ImageNet-1k's, and the class; "
            "or those of classnames.txt in the model's folder"
        ),
    ] = None,
    alias: Alias = [],  # noqa: B006
    phrase: Phrase = [],  # noqa: B006
    images: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="your own images of it for the method to work on, in place of synthetic ones: as --eval, or a plain "
            "folder of image files of the one class",
        ),
    ] = None,
    near_duplicates: WithNearDuplicates = "refuse",
    drop_outliers: DropOutliers = False,
    where: Where = [],  # noqa: B006 (typer copies it)
    on_bad_image: OnBadImage = "stop",
    template: Template = DEFAULT_TEMPLATES,
    method: Annotated[str, typer.Option(help="efface methods lists them")] = "lip",
    preset: Preset = "default",
    set_: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="a setting; synthesis.NAME=VALUE for the images")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: runs/CLASS-METHOD")] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="replace a run that stands there; without --resume also the notes of another"),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with a run that was interrupted, from the last checkpoint, or begin")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved plan and stop")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 256,
    workers: Workers = DEFAULT_WORKERS,
    max_memory: MaxMemory = None,
) -> int:
    """Forgets a class by its name, or several, measures what changed, and writes a run folder."""
    wanted, limit, sifting = columns(where), memory_bytes(max_memory), Sifting(near_duplicates, drop_outliers)
    folder = named(out or Path("runs") / f"{slug_of(class_)}-{method}")
    is_there = resume and not overwrite and (folder / RECORD).is_file()
    if not (resume or overwrite or dry_run):
        _check_notes(folder)
    sources = eval_ if images is None else [*eval_, images]
    check_places(folder, sources, overwrite=overwrite or dry_run or is_there)
    if not dry_run:
        check_model(model)
    targets = targets_of(class_, alias, phrase)
    request = ForgetRequest(targets, _names(model, class_, classnames), _templates(template), seed, images, sifting)

    chosen, synthesizer = _settings(method, preset, set_, images)
    on = torch_device(device)
    if dry_run:
        from efface.stages import described_guard

        plan = {"model": model, "out": str(folder), "data": eval_, "where": wanted, "method": method, "preset": preset}
        used = synthesizer if chosen.needs.forget_images and images is None else None
        guard = described_guard(chosen, synthesizer)
        _print_plan(plan | {"device": on, "precision": precision, "guard": guard}, request, chosen, used)
        return 0

    from efface import pipeline
    from efface.backends import load
    from efface.console import Terminal
    from efface.measuring import Options

    if is_there:
        how = {"device": on, "precision": precision, "data": eval_, "where": wanted}
        return _finished(folder, model, request, (chosen, synthesizer), how, as_json=as_json)
    with _going_on(folder):
        clip = load(model, device=on, precision=precision)
        run = pipeline.forget(
            clip,
            class_,
            among=request.among,
            aliases={target.name: target.aliases for target in targets},
            phrases={target.name: target.phrases for target in targets},
            images=images,
            sifting=sifting,
            method=chosen,
            preset=preset,
            synthesizer=synthesizer,
            templates=request.templates,
            data=eval_,
            seed=seed,
            options=Options(batch_size, workers, Terminal(err), wanted, on_bad_image, limit),
            working=beside(folder),
            resume=resume,
            overwrite=overwrite,
        )
        run.save(folder, overwrite=overwrite)
        return _report_run(run.record, folder, as_json=as_json)


def _check_notes(folder: Path) -> None:
    """Refuses to begin a run where one was stopped; before a word on replacing what is finished there."""
    if beside(folder).is_dir():
        from efface.checkpoints import check_unused  # it imports torch

        check_unused(beside(folder), _way_on(folder))


def _way_on(folder: Path) -> str:
    """The options that go on with a run that was stopped."""
    return "--resume --overwrite" if folder.exists() else "--resume"


def _settings(method: str, preset: str, pairs: list[str], images: str | None) -> "Chosen":
    """Method and synthesis with the settings that were asked for."""
    from efface.methods import method_preset
    from efface.settings import parse_pairs, with_all_settings
    from efface.synthesis import preset_synthesizer

    asked = parse_pairs(pairs)
    presets = {"": method_preset(method, preset), SYNTHESIS: preset_synthesizer(preset)}
    made = with_all_settings(presets, asked)
    of_synthesis = [name for name in asked if name.startswith(SYNTHESIS)]
    if of_synthesis and not made[""].needs.forget_images:
        names = ", ".join(name.removeprefix(SYNTHESIS) for name in of_synthesis)
        raise InputError(f"{method} makes no images: it has no {names}", hint="leave it out")
    if images is not None:
        from efface.data.own import check_of_use

        check_of_use(images, method, made[""].needs, of_synthesis)
    return made[""], made[SYNTHESIS]


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    """Says at whatever ends a run how to go on with it, where there is something to go on from, or that it is whole."""
    from efface.checkpoint_files import has_checkpoints
    from efface.checkpoints import RefusedError

    before = _record_in(folder)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        # An error of efface's own comes before the run is written, even where somebody else's stands there by then.
        if not isinstance(error, EffaceError) and _record_in(folder) not in (None, before):
            hint = f"the run is whole in {folder}: --resume without --overwrite shows it"
        # What is NaN is so again after the same steps.
        elif isinstance(error, RefusedError | NotFiniteError) or not has_checkpoints(beside(folder)):
            raise
        else:
            kept, way_on = beside(folder), _way_on(folder)
            hint = f"what is done is kept in {kept}: the same command with {way_on} goes on from there"
        if isinstance(error, EffaceError):
            error.hint += f"; {hint}"
            raise
        if isinstance(error, OSError):
            raise InputError(of_system(error), hint=f"make room, or look at the path; {hint}") from error
        if isinstance(error, KeyboardInterrupt):
            raise Stopped("interrupted", hint=hint) from None
        error.add_note(hint)
        raise


def _record_in(folder: Path) -> bytes | None:
    path = folder / RECORD
    return path.read_bytes() if path.is_file() else None


def _finished(
    folder: Path, model: str, request: ForgetRequest, chosen: "Chosen", how: Mapping[str, Any], *, as_json: bool
) -> int:
    """The answer to ``--resume`` where the run is finished: what it said.

    Raises:
        RefusedError: If it is a run of another request, or what is noted beside it is of another run.
    """
    from efface.backends.sources import shown
    from efface.checkpoints import check_same, outlived
    from efface.export.folder import read_run
    from efface.export.log import note_run
    from efface.stages import asked, recorded
    from efface.verifying.rerun import PRECISIONS
    from efface.whole import clear_leftovers

    record = read_run(folder)
    data = sorted((source.source, dict(source.where)) for source in record.data)
    names = {short: name for name, short in PRECISIONS.items()}
    words = asked(request, *chosen, model=shown(model), device=how["device"], precision=names.get(how["precision"], ""))
    check_same(
        words | {"data": sorted((source, how["where"]) for source in how["data"])},
        recorded(record) | {"data": data},
        f"{folder} holds a finished run",
        hint="ask for the same to see it again, or choose another --out; --resume --overwrite makes the one that is "
        "asked for now, from its notes if there are any, and replaces that one",
    )
    with outlived(beside(folder), recorded(record), record.created) as is_held:
        if is_held:
            clear_leftovers(folder)
        # It was killed before it could say so itself, maybe.
        note_run(folder, record)
    return _report_run(record, folder, as_json=as_json)


def _names(model: str, wanted: list[str], classnames: Path | None) -> tuple[str, ...]:
    """The class names that the method tells apart."""
    from efface.data.prompts import class_names_from, names_for, with_targets

    if classnames is not None:
        return class_names_from(classnames)
    return with_targets(wanted, names_for(model))


def _templates(template: list[str]) -> tuple[str, ...]:
    from efface.data.prompts import templates_from

    return tuple(line for value in template for line in templates_from(value))


def _print_plan(plan: dict[str, Any], request: ForgetRequest, method: object, synthesizer: object) -> None:
    parts = {"request": request, "settings": method, "synthesis": synthesizer}
    plan |= {name: None if part is None else asdict(part) for name, part in parts.items()}  # type: ignore[call-overload]
    sys.stdout.write(json.dumps(plan, indent=1, ensure_ascii=False) + "\n")


def _report_run(record: Any, folder: Path, *, as_json: bool) -> int:
    from efface.console import score_table

    if record.data:
        err.print(score_table(record), crop=False)
    else:
        err.print("nothing was measured: give held-out images with --eval")
    state = "done" if record.reached else "goal missed"
    err.print(Text(f"{state}: {record.reason}", style="bold"), soft_wrap=True)
    err.print(f"{record.seconds:.0f} s, {record.peak_memory_bytes / 2**30:.1f} GiB at most")
    sys.stdout.write((folder / RECORD).read_text(encoding="utf-8") if as_json else f"{folder}\n")
    return 0 if record.reached else 1
