"""Forgetting, from a name to a run that can be saved. The only module that knows every stage."""

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from efface.backends.base import LoadedCLIP
from efface.beside import Beside
from efface.checkpoints import Working
from efface.clock import Clock
from efface.data.holdout import EvalData
from efface.errors import EffaceWarning
from efface.evaluation.detail import Picture
from efface.export.folder import Pictures, write_run
from efface.export.place import beside
from efface.fitting import limited
from efface.giving import give
from efface.guard_counts import guard_images, own_share
from efface.guarding import with_guard
from efface.measuring import measure
from efface.methods import method_name, method_preset, preset_label
from efface.methods.base import ForgetMethod
from efface.opening import Options, Source, called, open_all
from efface.paths import named
from efface.preparing import Prepared, has_images_of_each, images_digest, prepare
from efface.report.environment import now, peak_memory_bytes
from efface.report.record import Record
from efface.request import TEMPLATES, ForgetRequest, in_words, label_of, listed, targets_of
from efface.sifting import Sifting
from efface.stages import described, described_guard, described_request, edit, evaluations
from efface.synthesis import preset_synthesizer
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import ForgetData, Images, Trace
from efface.whole import clear_leftovers
from efface.wording import unnamed_words

Words = Sequence[str] | Mapping[str, Sequence[str]]
"""Aliases or phrases: of one class, or by class."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a request.

    Attributes:
        record: everything that was asked, done and measured.
        clip: the edited model; None where no image of the class was accepted, so that there was nothing to work on.
        synthetic: pixels in [0, 1] of the images that were made; None where none were needed.
        retrieved: small pictures of the held-out images that the class's text finds, before and after.
        working: where the run noted how far it was, if anywhere; no other run has that folder until this one is saved,
            or nothing refers to it any more.
    """

    record: Record = field(repr=False)
    clip: LoadedCLIP | None = field(repr=False)
    synthetic: Images | None = field(repr=False)
    retrieved: tuple[Picture, ...] = field(default=(), repr=False)
    working: Working | None = field(default=None, repr=False)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the run folder, whole or not at all, removes the working folder, and returns the run folder's path.

        Raises:
            InputError: If the folder exists and is not to be overwritten, or is not a run folder.
        """
        run = named(Path(folder))
        write_run(run, self.record, self.clip, Pictures(self.synthetic, self.retrieved), overwrite=overwrite)
        working = self.working
        if working is not None and working.folder is not None:
            # Whoever writes a run folder has the working folder beside it: what is left there is of nobody alive.
            if working.is_held() and working.folder.absolute() == beside(run).absolute():
                clear_leftovers(run)
            working.discard()
        return Path(folder)


def forget(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    clip: LoadedCLIP,
    name: str | Sequence[str],
    *,
    among: Sequence[str],
    aliases: Words = (),
    phrases: Words = (),
    images: Source | None = None,
    where: Mapping[str, str] | None = None,
    retain: Source | None = None,
    calibration: Source | None = None,
    pool: Source | None = None,
    hierarchy: Mapping[str, str] | None = None,
    sifting: Sifting | None = None,
    method: str | ForgetMethod = "lip",
    preset: str = "default",
    synthesizer: Synthesizer | None = None,
    templates: Sequence[str] = TEMPLATES,
    data: Sequence[Source] = (),
    seed: int = 0,
    options: Options | None = None,
    working: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Forgets a class by its name, or several; ``clip`` stays as it is.

    Args:
        clip: the model.
        name: the class to forget, or several.
        among: the names of all classes that the model is asked to tell apart, ``name`` included.
        aliases: other names of the class that are to fall too; of several classes as ``class=alias``, or a list by
            class. They are no answers beside the class's name: what they find is measured by itself.
        phrases: texts that are to fall too, used as they are; likewise.
        images: the user's own images of the classes, in place of synthetic ones: a source as in ``data``, or a plain
            folder of image files where there is one class. Of more than the method asks for some are drawn.
        where: of these classes only images that are so are to be forgotten, a value for some of the columns of
            ``images``; those in ``data`` are the *forget* split, and the classes' other images *siblings*.
        retain: images of what is to stay, of other classes or other kinds of these; those of the kind are left aside.
        calibration: images of both, which a method chooses settings by and is not trained on; by default some of the
            others are put aside.
        pool: any images, whose labels are not looked at: where there is no ``retain`` the model picks some of it. Where
            there is neither, it makes images of the classes' siblings and of others.
        hierarchy: the group of a class, by class: classes of a group are siblings; by default the nearest texts are.
        sifting: what to do with near duplicates and outliers among images that are given.
        method: a method's name, or a method with settings of its own.
        preset: which settings a method that is named starts from: ``default``, or ``paper`` for the published ones;
            ``lip`` has ``lipschitz`` too, the published loss with settings of our own.
        synthesizer: how images are made for methods that need some; by default the preset's.
        templates: texts with ``{}`` for the class name.
        data: sources of held-out images to measure on, before and after; no method sees them.
        seed: of all random numbers.
        options: how to run.
        working: a folder in which the run notes how far it is; :meth:`Run.save` removes it. No other run can have it
            until then, or until nothing refers to the run any more.
        resume: go on from what is noted there, on the same bits as if the run had not been stopped; begin where nothing
            is. Without it a folder in which something is noted is refused.
        overwrite: with ``resume`` nothing; without, delete what is noted there of another request, and begin anew. What
            is noted of the same one is refused all the same.

    Returns:
        The run. Its record says whether the method reached its own goal; that is not an error.

    Raises:
        InputError: If the request or the data cannot be used, an image of ``images`` is among the data, the working
            folder cannot be had, or the run to go on with was begun with another request.
        NotFiniteError: If a loss became NaN or infinite.
        MemoryLackError: If memory does not do, and there is no batch left to be made smaller.
        OSError: If a checkpoint cannot be written, on a full disk say; those before it stay.
    """
    options = options or Options()
    targets = targets_of(name, aliases, phrases)
    names = [target.name for target in targets]
    request = ForgetRequest(
        targets,
        listed("among", among),
        listed("templates", templates),
        seed,
        called(images),
        Beside(where or {}, called(retain), called(calibration), called(pool), hierarchy or {}),
        sifting or Sifting(),
    )
    chosen = method_preset(method, preset) if isinstance(method, str) else method
    synthesis = synthesizer or preset_synthesizer(preset)
    clock = Clock()
    held_out = open_all(clip, data, options, names, request.beside.where)
    _warn_if_unseen(request, held_out)
    given = {"forget": images, "retain": retain, "calibration": calibration, "pool": pool}
    opened, lots = give(clip, given, request, chosen, held_out, options)
    asked = {} if working is None else described_request(clip, request, chosen, synthesis, opened)
    with (
        limited(clip.encoder.device, options.max_memory),
        Working(None if working is None else Path(working), asked, resume=resume, overwrite=overwrite).noting() as kept,
    ):
        making = kept.stage("synthesis", {})
        with clock("synthesis" if images is None else "images", making):
            prepared = prepare(clip, request, chosen, synthesis, making, options.reporter, lots, held_out)
        synthetic = prepared.synthetic
        _warn_if_few(names, prepared)
        if synthetic is not None and not has_images_of_each(request, prepared):
            edited, trace = None, Trace((), reached=False, reason=synthetic.trace.reason)
        else:
            edited, trace = _edited(clip, request, chosen, prepared.data, synthesis, kept, options, clock)
        measuring = evaluations(kept, edited, held_out, options)
        with clock("evaluation", *measuring):
            found = measure((clip, edited), held_out, request.templates, targets, options, measuring)
    measured = found.measurement
    record = Record(
        model=clip.source,
        target=names[0],
        among=request.among,
        templates=request.templates,
        method=method if isinstance(method, str) else method_name(method),
        preset=_preset_label(chosen, synthesis, preset),
        settings=asdict(chosen),  # type: ignore[call-overload]
        synthesis=None if synthetic is None else _described(synthesis, synthetic),
        guard=described_guard(chosen, synthesis, request.beside),
        seed=seed,
        device=str(clip.encoder.device),
        precision=measured.precision,
        batch_size=found.batch_size,
        trace=trace,
        reached=trace.reached,
        reason=trace.reason + unnamed_words(clip.tokenize, [text.text for text in request.texts], trace),
        weights=measured.weights,
        data=measured.data,
        scores=measured.scores,
        changes=measured.changes,
        classes=measured.classes,
        confusion=measured.confusion,
        retrieved=found.retrieved,
        environment=measured.environment,
        timing=clock.stages,
        seconds=clock.total(),
        peak_memory_bytes=peak_memory_bytes(clip.encoder.device),
        created=now(),
        targets=tuple(names),
        aliases={target.name: target.aliases for target in targets if target.aliases},
        phrases={target.name: target.phrases for target in targets if target.phrases},
        images=prepared.own,
        sifted=prepared.sifted,
        other_texts=measured.other_texts,
        beside=request.beside,
        handed=prepared.handed,
        summaries=measured.summaries,
    )
    pixels = None if synthetic is None else clip.encoder.pixels.denormalize(synthetic.images).clamp(0, 1).cpu()
    return Run(record, edited, pixels, found.pictures, kept)


def _edited(  # noqa: PLR0913 (all that a method needs)
    clip: LoadedCLIP,
    request: ForgetRequest,
    method: ForgetMethod,
    data: ForgetData,
    synthesis: Synthesizer,
    kept: Working,
    options: Options,
    clock: Clock,
) -> tuple[LoadedCLIP, Trace]:
    """What the method makes of the model, after a guard was made for it where it is to have one."""
    making, wanted = kept.stage("guard", {}), guard_images(method.needs, request.beside)
    if wanted:
        with clock("guard", making):
            data = with_guard(
                clip,
                data,
                wanted,
                seed=request.seed,
                stage=making,
                reporter=options.reporter,
                synthesizer=synthesis,
                hierarchy=(request.among, request.beside.hierarchy),
                own=own_share(method.needs, request.beside),
            )
    sets = {"images": data.forget, "guard": data.guard, "retain": data.retain, "calibration": data.calibration}
    sets |= {"calibration to forget": data.calibration_forget, "pool": data.pool}
    editing = kept.stage("method", {what: images_digest(images) for what, images in sets.items()})
    with clock("method", editing):
        return edit(clip, method, data, request.seed, editing, options.reporter)


def _warn_if_few(names: Sequence[str], prepared: Prepared) -> None:
    """Says so where a method is handed fewer images than it asked for, or not all that were given."""
    for one in prepared.handed:
        if one.note:
            warnings.warn(f"{one.source}: {one.note}", EffaceWarning, stacklevel=3)
    made, own = prepared.synthetic, prepared.own
    reason = made.trace.reason if made is not None and not made.trace.reached else "" if own is None else own.note
    if reason:
        warnings.warn(f"{in_words(names)}: {reason}", EffaceWarning, stacklevel=3)


def _preset_label(method: ForgetMethod, synthesis: Synthesizer, preset: str) -> str:
    is_preset = not method.needs.forget_images or synthesis == preset_synthesizer(preset)
    return preset_label(method, preset) if is_preset else f"changed from {preset}"


def _warn_if_unseen(request: ForgetRequest, held_out: Sequence[EvalData]) -> None:
    """Says so when no source has a class, or the kind of it: then it is not measured whether it was forgotten."""
    names, where = [target.name for target in request.targets], request.beside.where
    known = [known for source in held_out for known in source.class_names]
    unseen = [name for name in names if not any(source.has_images_of(name) for source in held_out)]
    for name in unseen if held_out else ():
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        offer = f"; is it {near[0]!r} there?" if near else ""
        label = label_of([name], where)
        text = f"no source of held-out images has an image of {label!r}, so that forgetting is not measured{offer}"
        warnings.warn(text, EffaceWarning, stacklevel=3)


def _described(synthesizer: Synthesizer, made: Synthetic) -> Mapping[str, object]:
    trace = made.trace
    return {**described(synthesizer), "reached": trace.reached, "reason": trace.reason, "steps": list(trace.steps)}
