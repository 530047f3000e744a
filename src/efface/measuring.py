"""Measuring a model, or a model against its base, on held-out images."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.encoding import encode_classes
from efface.errors import EffaceWarning, InputError, offer
from efface.evaluation.base import Pair
from efface.evaluation.collateral import class_changes, confusions, retrieval_changes, retrieval_scores
from efface.evaluation.detail import Picture, retrieved
from efface.evaluation.other_texts import text_changes, text_scores
from efface.evaluation.retrieval import Retrieved
from efface.evaluation.zero_shot import Answers, OtherTexts, answer, changes, class_scores, scores
from efface.fitting import Fitting, limited
from efface.report.environment import environment
from efface.report.record import ClassScores, Measurement, OtherTextScores, Scores
from efface.report.used import data_used, left_out
from efface.report.weights import compare_weights
from efface.request import TEMPLATES, ClassTarget, check_templates, listed, texts_of, twice
from efface.types import Checkpoint, Reporter, Silent

Source = str | Path | EvalData
EDITED: tuple[Pair, ...] = ("both", "image", "text")
ON_BAD_IMAGE = ("stop", "skip")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, where it does not change what is asked.

    Attributes:
        batch_size: images at a time in evaluation.
        workers: processes that decode images; 0 decodes in this one.
        reporter: told how far it is.
        where: which images of each source count: a value for some of its columns.
        on_bad_image: ``stop`` at an image that cannot be decoded, or ``skip`` it: then it is named in the record, and
            every n is without it.
        max_memory: bytes of memory to keep below by taking fewer images at a time: of a GPU, which torch is held to, or
            of this process; None for no such limit. Another number of images at a time may round differently.
    """

    batch_size: int = 256
    workers: int = 0
    reporter: Reporter = field(default_factory=Silent)
    where: Mapping[str, str] = field(default_factory=dict)
    on_bad_image: str = "stop"
    max_memory: int | None = None

    def __post_init__(self) -> None:
        if self.on_bad_image not in ON_BAD_IMAGE:
            raise InputError(
                f"{self.on_bad_image!r} says not what to do at a bad image", hint=offer(self.on_bad_image, ON_BAD_IMAGE)
            )
        # At once, and not when the first batch is to be measured, after all the work.
        if self.max_memory is not None and (not isinstance(self.max_memory, int) or self.max_memory < 1):
            raise InputError(
                f"the limit of memory is {self.max_memory!r}",
                hint="give a number of bytes above 0, such as 4_000_000_000",
            )


def evaluate(
    clip: LoadedCLIP,
    *,
    data: Sequence[Source],
    against: LoadedCLIP | None = None,
    name: str | Sequence[str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    options: Options | None = None,
) -> Measurement:
    """Measures zero-shot accuracy of a model, or of a model against the one that it was made from.

    Args:
        clip: the model; its scores stand under ``after``.
        data: sources of held-out images.
        against: the base; its scores stand under ``before``, and mixed towers and paired changes are measured too.
        name: a class, or several, whose images are the *forget* split wherever a source has them.
        templates: texts with ``{}`` for the class name.
        options: how to run.

    Raises:
        InputError: If the data cannot be used, no source has an image of a class that can be decoded, or the two models
            read images differently.
    """
    options = options or Options()
    texts_of_a_class = listed("templates", templates)
    check_templates(texts_of_a_class)
    if against is not None:
        check_comparable(clip, against)
    held_out = open_all(clip, data, options)
    names = (name,) if isinstance(name, str) else tuple(name or ())
    if twice(names):
        raise InputError(f"the class {twice(names)[0]!r} is given twice", hint="give it once")
    for wanted in names:
        if not any(source.has_images_of(wanted) for source in held_out):
            known = {known: None for source in held_out for known in source.class_names}
            raise InputError(f"no source has an image of {wanted!r}", hint=offer(wanted, list(known)[:1000]))
    models = (clip, None) if against is None else (against, clip)
    measured = measure(models, held_out, texts_of_a_class, tuple(map(ClassTarget, names)), options).measurement
    decoded = {score.name for score in measured.classes.before}
    for wanted in names:
        if wanted not in decoded:
            raise InputError(f"no image of {wanted!r} can be decoded", hint="look at one of them in an image viewer")
    if against is None:
        return replace(
            measured,
            scores=Scores(after=measured.scores.before),
            classes=ClassScores(after=measured.classes.before),
            weights=replace(measured.weights, result=measured.weights.base),
        )
    return measured


def open_all(clip: LoadedCLIP, data: Sequence[Source], options: Options) -> list[EvalData]:
    """Every source, read with the model's preprocessing; what is open already stays as it is.

    Raises:
        InputError: If one cannot be used, or stands twice: its figures would have one name.
    """
    given = listed("data", data)
    again = twice([source.source if isinstance(source, EvalData) else str(source) for source in given])
    if again:
        raise InputError(f"the images {again[0]!r} are given twice", hint="give them once")
    return [source if isinstance(source, EvalData) else _open(clip, str(source), options) for source in given]


def _open(clip: LoadedCLIP, source: str, options: Options) -> EvalData:
    return open_source(
        source,
        preprocess=clip.preprocess,
        workers=options.workers,
        where=options.where,
        skipped=BadImages() if options.on_bad_image == "skip" else None,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found, and pictures for a page.

    Attributes:
        measurement: the figures.
        retrieved: the images that the forgotten class's text finds.
        pictures: those images, in the order in which ``retrieved`` counts them.
        batch_size: images at a time, in the end.
    """

    measurement: Measurement
    retrieved: tuple[Retrieved, ...] = ()
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    batch_size: int = 0


def measure(
    models: tuple[LoadedCLIP, LoadedCLIP | None],
    held_out: Sequence[EvalData],
    templates: tuple[str, ...],
    targets: Sequence[ClassTarget],
    options: Options,
    checkpoints: Sequence[Checkpoint] = (),
) -> Measured:
    """Scores, changes and class scores of base and edited model on every source.

    Args:
        models: the base and the edited model; None for the latter to measure the base alone.
        held_out: the sources.
        templates: texts with ``{}`` for the class name.
        targets: the classes whose images are the *forget* split; their aliases and phrases are measured in their place.
        options: how to run.
        checkpoints: one a source, for a measurement that goes on after it was stopped.

    Raises:
        InputError: If an image cannot be decoded and is not to be skipped, no image of a source can be, or the limit of
            memory is below 1 byte.
    """
    base, edited = models
    names = tuple(target.name for target in targets)
    fitting = Fitting(options.batch_size, limit=options.max_memory if base.encoder.device.type == "cpu" else None)
    with limited(base.encoder.device, options.max_memory):
        answers = [
            answer(
                (base.encoder, None if edited is None else edited.encoder),
                source,
                base.class_tokens([texts(templates, class_name) for class_name in source.class_names]),
                targets=source.classes_of(names),
                batch_size=options.batch_size,
                reporter=options.reporter,
                checkpoint=checkpoint,
                fitting=fitting,
                other=_other_texts(base, source, templates, targets),
            )
            for source, checkpoint in zip_longest(held_out, checkpoints)
        ]
    for source in held_out:
        for text in left_out(source, names):
            warnings.warn(text, EffaceWarning, stacklevel=3)
    pairs = EDITED if edited is not None else ()
    target_texts = _target_texts(base, templates, names) if held_out else None
    measurement = Measurement(
        model=(edited or base).source,
        against=None if edited is None else base.source,
        name=names[0] if names else None,
        templates=templates,
        weights=compare_weights(base.stored_state(), None if edited is None else edited.stored_state()),
        environment=environment(),
        precision=str(base.encoder.precision).removeprefix("torch."),
        data=tuple(data_used(source, names) for source in held_out),
        scores=Scores(
            before=tuple(score for a in answers for score in (*scores(a, "before"), *retrieval_scores(a, "before"))),
            after=tuple(s for pair in pairs for a in answers for s in (*scores(a, pair), *retrieval_scores(a, pair))),
        ),
        classes=ClassScores(
            before=tuple(score for a in answers for score in class_scores(a, "before")),
            after=tuple(score for a in answers for score in class_scores(a, "both")) if pairs else (),
            changes=tuple(change for a in answers for change in class_changes(a, target_texts)) if pairs else (),
        ),
        changes=tuple(c for pair in pairs for a in answers for c in (*changes(a, pair), *retrieval_changes(a, pair))),
        confusion=tuple(found for a in answers for found in confusions(a)) if pairs else (),
        names=names,
        other_texts=OtherTextScores(
            before=tuple(score for a in answers for score in text_scores(a, "before")),
            after=tuple(score for pair in pairs for a in answers for score in text_scores(a, pair)),
            changes=tuple(change for pair in pairs for a in answers for change in text_changes(a, pair)),
        ),
    )
    return Measured(measurement, *_retrieved(answers), batch_size=fitting.part if held_out else options.batch_size)


def _target_texts(
    base: LoadedCLIP, templates: tuple[str, ...], names: Sequence[str]
) -> Float[Tensor, "targets dim"] | None:
    if not names:
        return None
    return encode_classes(base.encoder, base.class_tokens([texts(templates, name) for name in names]))


def _other_texts(
    base: LoadedCLIP, source: EvalData, templates: tuple[str, ...], targets: Sequence[ClassTarget]
) -> OtherTexts | None:
    """The aliases and phrases of classes that the source has."""
    labels = {text: source.class_of(text.name) for text in texts_of(targets) if text.kind != "class"}
    found = {text: label for text, label in labels.items() if label is not None}
    if not found:
        return None
    return OtherTexts(tuple(found), tuple(found.values()), base.class_tokens([text.texts(templates) for text in found]))


def _retrieved(answers: Sequence[Answers]) -> tuple[tuple[Retrieved, ...], tuple[Picture, ...]]:
    found: list[Retrieved] = []
    pictures: list[Picture] = []
    for a in answers:
        if a.targets and a.detail is not None:
            found += retrieved(a.data, a.class_names, a.labels, a.targets, a.detail, len(pictures))
            pictures += a.detail.pictures.values()
    return tuple(found), tuple(pictures)


def check_comparable(clip: LoadedCLIP, against: LoadedCLIP) -> None:
    """Refuses two models of which one cannot have been made from the other.

    Raises:
        InputError: If they read images differently, or have different tensors.
    """
    hint = "compare a model with the one that it was made from"
    if clip.library != against.library:
        hint = f"they are in the formats of {clip.library} and of {against.library}: export one of them to the other's"
    if clip.encoder.pixels != against.encoder.pixels:
        read = f"{clip.source} reads images by {clip.encoder.pixels}, {against.source} by {against.encoder.pixels}"
        raise InputError(read, hint=hint)
    mine, other = (m.encoder.module.state_dict() for m in (clip, against))
    if {n: t.shape for n, t in mine.items()} != {n: t.shape for n, t in other.items()}:
        raise InputError(f"{clip.source} and {against.source} have different tensors", hint=hint)
