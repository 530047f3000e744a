"""Forgetting, from a name to a run that can be saved. The only module that knows every stage."""

import difflib
import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from efface.backends.base import LoadedCLIP, not_finite
from efface.data.holdout import EvalData
from efface.data.prompts import texts
from efface.errors import EffaceWarning, NotFiniteError
from efface.evaluation.detail import Picture
from efface.export.folder import Pictures, write_run
from efface.measuring import Options, Source, measure, open_all
from efface.methods import method_name, method_preset, preset_label
from efface.methods.base import ForgetMethod
from efface.report.environment import now, peak_memory_bytes
from efface.report.record import Record
from efface.request import TEMPLATES, ClassTarget, ForgetRequest, listed
from efface.synthesis import preset_synthesizer
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import ForgetData, Images, Reporter, TensorImages, Trace


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a request.

    Attributes:
        record: everything that was asked, done and measured.
        clip: the edited model; None where no image of the class was accepted, so that there was nothing to work on.
        synthetic: pixels in [0, 1] of the images that were made; None where none were needed.
        retrieved: small pictures of the held-out images that the class's text finds, before and after.
    """

    record: Record = field(repr=False)
    clip: LoadedCLIP | None = field(repr=False)
    synthetic: Images | None = field(repr=False)
    retrieved: tuple[Picture, ...] = field(default=(), repr=False)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the run folder, whole or not at all, and returns its path.

        Raises:
            InputError: If the folder exists and is not to be overwritten, or is not a run folder.
        """
        pictures = Pictures(self.synthetic, self.retrieved)
        return write_run(Path(folder), self.record, self.clip, pictures, overwrite=overwrite)


def forget(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    clip: LoadedCLIP,
    name: str,
    *,
    among: Sequence[str],
    method: str | ForgetMethod = "lip",
    preset: str = "default",
    synthesizer: Synthesizer | None = None,
    templates: Sequence[str] = TEMPLATES,
    data: Sequence[Source] = (),
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
    request = ForgetRequest(ClassTarget(name), listed("among", among), listed("templates", templates), seed)
    chosen = method_preset(method, preset) if isinstance(method, str) else method
    synthesis = synthesizer or preset_synthesizer(preset)
    is_preset = not chosen.needs.forget_images or synthesis == preset_synthesizer(preset)
    clock = Clock()
    held_out = open_all(clip, data, options)
    _warn_if_unseen(name, held_out)
    with clock("synthesis"):
        forget_data, synthetic = _prepare(clip, request, chosen, synthesis, options.reporter)
    if synthetic is not None and not synthetic.trace.reached:
        warnings.warn(f"{name}: {synthetic.trace.reason}", EffaceWarning, stacklevel=2)
    if synthetic is not None and not len(synthetic.images):
        edited, trace = None, Trace((), reached=False, reason=synthetic.trace.reason)
    else:
        with clock("method"):
            edited = clip.copy()
            rng = stream(seed, "method", clip.encoder.device)
            trace = chosen.edit_(edited.encoder, clip.encoder, forget_data, rng=rng, reporter=options.reporter)
            edited.round_to_stored_()
            check_result(edited)
    with clock("evaluation"):
        found = measure((clip, edited), held_out, request.templates, name, options)
    measured = found.measurement
    record = Record(
        model=clip.source,
        target=name,
        among=request.among,
        templates=request.templates,
        method=method if isinstance(method, str) else method_name(method),
        preset=preset_label(chosen, preset) if is_preset else f"changed from {preset}",
        settings=asdict(chosen),  # type: ignore[call-overload]
        synthesis=None if synthetic is None else _described(synthesis, synthetic),
        seed=seed,
        device=str(clip.encoder.device),
        precision=measured.precision,
        batch_size=options.batch_size,
        trace=trace,
        reached=trace.reached,
        reason=trace.reason,
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
    )
    pixels = None if synthetic is None else clip.encoder.pixels.denormalize(synthetic.images).clamp(0, 1).cpu()
    return Run(record, edited, pixels, found.pictures)


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


def check_result(clip: LoadedCLIP) -> None:
    """Refuses to hand out a model with weights that are NaN or infinite.

    Raises:
        NotFiniteError: It names the first of them.
    """
    bad = not_finite(clip.stored_state())
    if bad:
        raise NotFiniteError(f"the weights {bad[0]!r} became NaN or infinite", hint="lower the learning rate")


def _warn_if_unseen(name: str, held_out: Sequence[EvalData]) -> None:
    """Says so when no source has the class: then it is not measured whether it was forgotten."""
    names = [known for source in held_out for known in source.class_names]
    if held_out and not any(source.has_images_of(name) for source in held_out):
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        offer = f"; is it {near[0]!r} there?" if near else ""
        text = f"no source of held-out images has an image of {name!r}, so that forgetting is not measured{offer}"
        warnings.warn(text, EffaceWarning, stacklevel=3)


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


def _described(synthesizer: Synthesizer, made: Synthetic) -> Mapping[str, object]:
    return {
        "kind": type(synthesizer).__name__,
        "settings": asdict(synthesizer),  # type: ignore[call-overload]
        "reached": made.trace.reached,
        "reason": made.trace.reason,
        "steps": list(made.trace.steps),
    }
