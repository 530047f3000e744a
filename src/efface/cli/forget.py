"""``efface forget``: forgets a class and writes a run folder."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from efface.beside import Beside
from efface.cli.lines import err
from efface.cli.options import (
    DEFAULT_TEMPLATES,
    DEFAULT_WORKERS,
    AsJson,
    BatchSize,
    CalibrationImages,
    Device,
    DropOutliers,
    Eval,
    EvalWhere,
    Hierarchy,
    Kind,
    MaxMemory,
    Model,
    OnBadImage,
    OwnImages,
    PoolImages,
    Precision,
    Preset,
    RetainImages,
    Template,
    WithNearDuplicates,
    Workers,
    check_places,
    columns,
    memory_bytes,
    slug_of,
    torch_device,
)
from efface.cli.resuming import check_notes, finished, going_on
from efface.data.hierarchy import read_hierarchy
from efface.errors import InputError
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
    alias: Annotated[
        list[str],
        typer.Option(help="another name of it that is to fall too; of several classes CLASS=ALIAS; repeatable"),
    ] = [],  # noqa: B006
    phrase: Annotated[
        list[str],
        typer.Option(help="a text that is to fall too, used as it is; of several classes CLASS=TEXT; repeatable"),
    ] = [],  # noqa: B006
    images: OwnImages = None,
    where: Kind = [],  # noqa: B006 (typer copies it)
    retain_images: RetainImages = None,
    calibration_images: CalibrationImages = None,
    pool_images: PoolImages = None,
    hierarchy: Hierarchy = None,
    eval_where: EvalWhere = [],  # noqa: B006
    near_duplicates: WithNearDuplicates = "refuse",
    drop_outliers: DropOutliers = False,
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
    wanted, limit = columns(eval_where, "--eval-where"), memory_bytes(max_memory)
    groups, sifting = ({} if hierarchy is None else read_hierarchy(hierarchy)), Sifting(near_duplicates, drop_outliers)
    around = Beside(columns(where), retain_images, calibration_images, pool_images, groups)
    folder = named(out or Path("runs") / f"{slug_of(class_)}-{method}")
    is_there = resume and not overwrite and (folder / RECORD).is_file()
    sources = [*eval_, *(() if images is None else (images,)), *around.sources.values()]
    # What was noted of a run that was to replace another is told first, and after all that is wrong with the command.
    check_places(folder, sources, overwrite=overwrite or dry_run or is_there or beside(folder).is_dir())
    if not dry_run:
        check_model(model)
    targets = targets_of(class_, alias, phrase)
    request = ForgetRequest(
        targets, _names(model, class_, classnames), _templates(template), seed, images, around, sifting
    )

    chosen, synthesizer = _settings(method, preset, set_, request)
    if not (resume or overwrite or dry_run):
        check_notes(folder)
        check_places(folder, [], overwrite=False)
    on = torch_device(device)
    if dry_run:
        plan = {"model": model, "out": str(folder), "data": eval_, "eval_where": wanted}
        plan |= {"method": method, "preset": preset, "device": on, "precision": precision}
        return _print_plan(plan, request, chosen, synthesizer)

    from efface import pipeline
    from efface.backends import load
    from efface.console import Terminal
    from efface.measuring import Options

    if is_there:
        how = {"device": on, "precision": precision, "data": eval_, "where": wanted}
        return _report_run(finished(folder, model, request, (chosen, synthesizer), how), folder, as_json=as_json)
    with going_on(folder):
        clip = load(model, device=on, precision=precision)
        run = pipeline.forget(
            clip,
            class_,
            among=request.among,
            aliases={target.name: target.aliases for target in targets},
            phrases={target.name: target.phrases for target in targets},
            images=images,
            sifting=sifting,
            where=around.where,
            retain=retain_images,
            calibration=calibration_images,
            pool=pool_images,
            hierarchy=groups,
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


def _settings(method: str, preset: str, pairs: list[str], request: ForgetRequest) -> "Chosen":
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
    if request.images is not None or request.beside.sources or request.beside.hierarchy:
        from efface.data.own import check_beside_of_use, check_of_use

        if request.images is not None:
            check_of_use(request.images, method, made[""].needs, of_synthesis)
        check_beside_of_use(request.beside, method, made[""].needs)
    return made[""], made[SYNTHESIS]


def _names(model: str, wanted: list[str], classnames: Path | None) -> tuple[str, ...]:
    """The class names that the method tells apart."""
    from efface.data.prompts import class_names_from, names_for, with_targets

    if classnames is not None:
        return class_names_from(classnames)
    return with_targets(wanted, names_for(model))


def _templates(template: list[str]) -> tuple[str, ...]:
    from efface.data.prompts import templates_from

    return tuple(line for value in template for line in templates_from(value))


def _print_plan(
    plan: dict[str, Any], request: ForgetRequest, method: "ForgetMethod", synthesizer: "Synthesizer"
) -> int:
    from efface.stages import described_guard

    used = synthesizer if method.needs.forget_images and request.images is None else None
    plan["guard"] = described_guard(method, synthesizer, request.beside)
    parts = {"request": request, "settings": method, "synthesis": used}
    plan |= {name: None if part is None else asdict(part) for name, part in parts.items()}  # type: ignore[call-overload]
    sys.stdout.write(json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
    return 0


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
