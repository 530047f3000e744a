"""The verbs: forget a class, evaluate a model. The only module that knows every stage."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.errors import InputError
from efface.evaluation.zero_shot import Answers, Pair, answer, changes, class_scores, scores
from efface.export.folder import write_run
from efface.methods import method_name, method_preset
from efface.methods.base import ForgetMethod
from efface.report.environment import environment, peak_memory_bytes
from efface.report.record import ClassScores, DataUsed, Measurement, Record, Scores, Weights
from efface.request import ClassTarget, ForgetRequest, check_templates
from efface.synthesis import PRESETS as SYNTHESES
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import ForgetData, Images, Reporter, Silent, TensorImages, Trace

TEMPLATES = ("a photo of a {}.",)
EDITED: tuple[Pair, ...] = ("both", "image", "text")


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a request.

    Attributes:
        record: everything that was asked, done and measured.
        clip: the edited model; None where the method had nothing to work on, which the record explains.
        synthetic: pixels in [0, 1] of the images that were made; None where none were needed.
    """

    record: Record
    clip: LoadedCLIP | None
    synthetic: Images | None

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the run folder, whole or not at all, and returns its path.

        Raises:
            InputError: If the folder exists and is not to be overwritten, or is not a run folder.
        """
        return write_run(Path(folder), self.record, self.clip, self.synthetic, overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, where it does not change what is asked.

    Attributes:
        batch_size: images at a time in evaluation.
        workers: processes that decode images; 0 decodes in this one.
        reporter: told how far it is.
    """

    batch_size: int = 256
    workers: int = 0
    reporter: Reporter = field(default_factory=Silent)


def forget(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    clip: LoadedCLIP,
    name: str,
    *,
    among: Sequence[str],
    method: str | ForgetMethod = "lip",
    preset: str = "default",
    synthesizer: Synthesizer | None = None,
    templates: Sequence[str] = TEMPLATES,
    data: Sequence[str | EvalData] = (),
    seed: int = 0,
    options: Options | None = None,
) -> Run:
    """Forgets a class by its name; ``clip`` stays as it is.

    Args:
        clip: the model.
        name: the class to forget.
        among: the names of all classes that the model is asked to tell apart, ``name`` included.
        method: a method's name, or a method with settings of its own.
        preset: which settings a method that is named starts from: ``default``, or ``paper`` for the published ones.
        synthesizer: how images are made for methods that need some; by default the preset's.
        templates: texts with ``{}`` for the class name.
        data: sources of held-out images to measure on, before and after; no method sees them.
        seed: of all random numbers.
        options: how to run.

    Returns:
        The run. Its record says whether the method reached its own goal; that is not an error.

    Raises:
        InputError: If the request or the data cannot be used.
        NotFiniteError: If a loss became NaN or infinite.
    """
    options = options or Options()
    request = ForgetRequest(ClassTarget(name), tuple(among), tuple(templates), seed)
    chosen = method_preset(method, preset) if isinstance(method, str) else method
    synthesis = synthesizer or SYNTHESES.get(preset, SYNTHESES["default"])
    clock = Clock()
    held_out = _open(clip, data, options)
    with clock("synthesis"):
        forget_data, synthetic = _prepare(clip, request, chosen, synthesis, options.reporter)
    if synthetic is not None and not synthetic.trace.reached:
        edited, trace = None, Trace((), reached=False, reason=synthetic.trace.reason)
    else:
        with clock("method"):
            edited = clip.copy()
            rng = stream(seed, "method", clip.encoder.device)
            trace = chosen.edit_(edited.encoder, clip.encoder, forget_data, rng=rng, reporter=options.reporter)
            edited.round_to_stored_()
    with clock("evaluation"):
        measured = _measure((clip, edited), held_out, request.templates, name, stream(seed, "bootstrap"), options)
    record = Record(
        model=clip.source,
        target=name,
        among=request.among,
        templates=request.templates,
        method=method if isinstance(method, str) else method_name(method),
        preset=preset,
        settings=asdict(chosen),  # type: ignore[call-overload]
        synthesis=None if synthetic is None else _described(synthesis, synthetic),
        seed=seed,
        device=f"{clip.encoder.device}",
        trace=trace,
        reached=trace.reached,
        reason=trace.reason,
        weights=_weights(clip, edited),
        data=measured.data,
        scores=measured.scores,
        changes=measured.changes,
        classes=measured.classes,
        environment=environment(),
        timing=clock.stages,
        seconds=clock.total(),
        peak_memory_bytes=peak_memory_bytes(clip.encoder.device),
    )
    pixels = None if synthetic is None else clip.encoder.pixels.denormalize(synthetic.images).clamp(0, 1).cpu()
    return Run(record, edited, pixels)


def evaluate(
    clip: LoadedCLIP,
    *,
    data: Sequence[str | EvalData],
    against: LoadedCLIP | None = None,
    name: str | None = None,
    templates: Sequence[str] = TEMPLATES,
    options: Options | None = None,
) -> Measurement:
    """Measures zero-shot accuracy of a model, or of a model against the one that it was made from.

    Args:
        clip: the model; its scores stand under ``after``.
        data: sources of held-out images.
        against: the base; its scores stand under ``before``, and mixed towers and paired changes are measured too.
        name: a class whose images are the *forget* split wherever a source has it.
        templates: texts with ``{}`` for the class name.
        options: how to run.

    Raises:
        InputError: If the data cannot be used, no source has the class, or the two models read images differently.
    """
    options = options or Options()
    check_templates(tuple(templates))
    if against is not None and against.encoder.pixels != clip.encoder.pixels:
        raise InputError(
            f"{clip.source} reads images by {clip.encoder.pixels}, {against.source} by {against.encoder.pixels}",
            hint="compare a model with the one that it was made from",
        )
    held_out = _open(clip, data, options)
    if name is not None and all(source.class_of(name) is None for source in held_out):
        raise InputError(f"no source has the class {name!r}", hint="take the name from the data's own class names")
    models = (clip, None) if against is None else (against, clip)
    measured = _measure(models, held_out, tuple(templates), name, stream(0, "bootstrap"), options)
    if against is None:
        alone = Scores(after=measured.scores.before), ClassScores(after=measured.classes.before)
        return Measurement(measured.data, *alone, changes=())
    return measured


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Times a stage."""
        started = time.perf_counter()
        yield
        self.stages[stage] = round(time.perf_counter() - started, 3)

    def total(self) -> float:
        """Seconds since it was made."""
        return round(time.perf_counter() - self.started, 3)


def stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers for one purpose: a stage that draws more of them does not shift another's."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1
    return torch.Generator(device=device).manual_seed(number)


def _open(clip: LoadedCLIP, data: Sequence[str | EvalData], options: Options) -> list[EvalData]:
    return [
        open_source(source, preprocess=clip.preprocess, workers=options.workers) if isinstance(source, str) else source
        for source in data
    ]


def _prepare(
    clip: LoadedCLIP, request: ForgetRequest, method: ForgetMethod, synthesizer: Synthesizer, reporter: Reporter
) -> tuple[ForgetData, Synthetic | None]:
    """What the method asked for, and the images that were made for it."""
    encoder, needs = clip.encoder, method.needs
    tokens = clip.class_tokens([texts(request.templates, name) for name in request.among])
    prompt = None if needs.prompt is None else clip.tokenize(texts((needs.prompt,), request.target.name))
    if not needs.forget_images:
        return ForgetData(request.position, tokens, prompt), None
    made = synthesizer(
        encoder,
        tokens,
        request.position,
        needs.forget_images,
        rng=stream(request.seed, "synthesis", encoder.device),
        reporter=reporter,
    )
    images = TensorImages(made.images, torch.full((len(made.images),), request.position))
    return ForgetData(request.position, tokens, prompt, images), made


def _measure(
    models: tuple[LoadedCLIP, LoadedCLIP | None],
    held_out: Sequence[EvalData],
    templates: tuple[str, ...],
    name: str | None,
    rng: torch.Generator,
    options: Options,
) -> Measurement:
    base, edited = models
    answers: list[Answers] = []
    for source in held_out:
        answers.append(
            answer(
                (base.encoder, None if edited is None else edited.encoder),
                source,
                base.class_tokens([texts(templates, class_name) for class_name in source.class_names]),
                target=None if name is None else source.class_of(name),
                batch_size=options.batch_size,
                reporter=options.reporter,
            )
        )
    pairs = EDITED if edited is not None else ()
    return Measurement(
        data=tuple(DataUsed(s.source, s.sha256, len(s.images), len(s.class_names)) for s in held_out),
        scores=Scores(
            before=tuple(score for a in answers for score in scores(a, "before")),
            after=tuple(score for pair in pairs for a in answers for score in scores(a, pair)),
        ),
        classes=ClassScores(
            before=tuple(score for a in answers for score in class_scores(a, "before")),
            after=tuple(score for a in answers for score in class_scores(a, "both")) if pairs else (),
        ),
        changes=tuple(change for pair in pairs for a in answers for change in changes(a, pair, rng=rng)),
    )


def _described(synthesizer: Synthesizer, made: Synthetic) -> Mapping[str, object]:
    return {
        "kind": type(synthesizer).__name__,
        "settings": asdict(synthesizer),  # type: ignore[call-overload]
        "reached": made.trace.reached,
        "reason": made.trace.reason,
        "steps": list(made.trace.steps),
    }


def _weights(base: LoadedCLIP, edited: LoadedCLIP | None) -> Weights:
    before = base.stored_state()
    if edited is None:
        return Weights(digest(before), None, ())
    after = edited.stored_state()
    return Weights(digest(before), digest(after), tuple(n for n in before if not torch.equal(before[n], after[n])))
