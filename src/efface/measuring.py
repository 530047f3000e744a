"""Measuring a model, or a model against its base, on held-out images."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.errors import EffaceWarning, InputError, offer
from efface.evaluation.base import Split
from efface.evaluation.zero_shot import Answers, Pair, answer, changes, class_scores, scores
from efface.report.environment import environment
from efface.report.record import ClassScores, DataUsed, Measurement, Scores, Weights
from efface.report.rows import split_words
from efface.request import TEMPLATES, check_templates, listed
from efface.types import Reporter, Silent

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
    """

    batch_size: int = 256
    workers: int = 0
    reporter: Reporter = field(default_factory=Silent)
    where: Mapping[str, str] = field(default_factory=dict)
    on_bad_image: str = "stop"

    def __post_init__(self) -> None:
        if self.on_bad_image not in ON_BAD_IMAGE:
            raise InputError(
                f"{self.on_bad_image!r} says not what to do at a bad image", hint=offer(self.on_bad_image, ON_BAD_IMAGE)
            )


def evaluate(
    clip: LoadedCLIP,
    *,
    data: Sequence[Source],
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
        InputError: If the data cannot be used, no source has an image of the class that can be decoded, or the two
            models read images differently.
    """
    options = options or Options()
    texts_of_a_class = listed("templates", templates)
    check_templates(texts_of_a_class)
    if against is not None:
        _check_comparable(clip, against)
    held_out = open_all(clip, data, options)
    if name is not None and not any(source.has_images_of(name) for source in held_out):
        known = {known: None for source in held_out for known in source.class_names}
        raise InputError(f"no source has an image of {name!r}", hint=offer(name, list(known)[:1000]))
    models = (clip, None) if against is None else (against, clip)
    measured = measure(models, held_out, texts_of_a_class, name, options)
    if name is not None and all(score.split != "forget" for score in measured.scores.before):
        raise InputError(f"no image of {name!r} can be decoded", hint="look at one of them in an image viewer")
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
        InputError: If one cannot be used.
    """
    return [
        source if isinstance(source, EvalData) else _open(clip, str(source), options) for source in listed("data", data)
    ]


def _open(clip: LoadedCLIP, source: str, options: Options) -> EvalData:
    return open_source(
        source,
        preprocess=clip.preprocess,
        workers=options.workers,
        where=options.where,
        skipped=BadImages() if options.on_bad_image == "skip" else None,
    )


def measure(
    models: tuple[LoadedCLIP, LoadedCLIP | None],
    held_out: Sequence[EvalData],
    templates: tuple[str, ...],
    name: str | None,
    options: Options,
) -> Measurement:
    """Scores, changes and class scores of base and edited model on every source.

    Args:
        models: the base and the edited model; None for the latter to measure the base alone.
        held_out: the sources.
        templates: texts with ``{}`` for the class name.
        name: the class whose images are the *forget* split.
        options: how to run.

    Raises:
        InputError: If an image cannot be decoded and is not to be skipped, or no image of a source can be.
    """
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
        model=(edited or base).source,
        against=None if edited is None else base.source,
        name=name,
        templates=templates,
        weights=_weights(base, edited),
        environment=environment(),
        precision=str(base.encoder.precision).removeprefix("torch."),
        data=tuple(_used(source, found, name) for source, found in zip(held_out, answers, strict=True)),
        scores=Scores(
            before=tuple(score for a in answers for score in scores(a, "before")),
            after=tuple(score for pair in pairs for a in answers for score in scores(a, pair)),
        ),
        classes=ClassScores(
            before=tuple(score for a in answers for score in class_scores(a, "before")),
            after=tuple(score for a in answers for score in class_scores(a, "both")) if pairs else (),
        ),
        changes=tuple(change for pair in pairs for a in answers for change in changes(a, pair)),
    )


def _used(source: EvalData, answers: Answers, name: str | None) -> DataUsed:
    """What the record says of a source; says now what was left out of it, and what is not measured for that."""
    skipped = tuple(source.skipped.reasons.values())
    if skipped:
        text = f"{len(skipped)} of the {len(source.images)} images of {source.source!r} are left out; {skipped[0]}"
        warnings.warn(text, EffaceWarning, stacklevel=4)
    lost = _lost(source, answers)
    for split in lost:
        text = f"all {split_words(split, str(name))} in {source.source!r} are left out: nothing is measured on them"
        warnings.warn(text, EffaceWarning, stacklevel=4)
    return DataUsed(
        source=source.source,
        sha256=source.sha256,
        n=len(answers.labels),
        classes=len(source.class_names),
        where=source.where,
        skipped=skipped,
        lost=lost,
    )


def _lost(source: EvalData, answers: Answers) -> tuple[Split, ...]:
    """The splits that the source has images of, but none that could be decoded."""
    if answers.target is None:
        return ()
    is_forget = source.images.labels == answers.target
    had: dict[Split, bool] = {"forget": bool(is_forget.any()), "retain": bool((~is_forget).any())}
    measured = {split for split, _ in answers.splits()}
    return tuple(split for split, has_images in had.items() if has_images and split not in measured)


def _weights(base: LoadedCLIP, edited: LoadedCLIP | None) -> Weights:
    before = base.stored_state()
    if edited is None:
        return Weights(digest(before), None, ())
    after = edited.stored_state()
    return Weights(digest(before), digest(after), tuple(n for n in before if not torch.equal(before[n], after[n])))


def _check_comparable(clip: LoadedCLIP, against: LoadedCLIP) -> None:
    """Refuses two models of which one cannot have been made from the other."""
    hint = "compare a model with the one that it was made from"
    if clip.library != against.library:
        hint = f"they are in the formats of {clip.library} and of {against.library}: export one of them to the other's"
    if clip.encoder.pixels != against.encoder.pixels:
        read = f"{clip.source} reads images by {clip.encoder.pixels}, {against.source} by {against.encoder.pixels}"
        raise InputError(read, hint=hint)
    mine, other = (m.encoder.module.state_dict() for m in (clip, against))
    if {n: t.shape for n, t in mine.items()} != {n: t.shape for n, t in other.items()}:
        raise InputError(f"{clip.source} and {against.source} have different tensors", hint=hint)
