"""Measuring a model, or a model against its base, on held-out images."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from jaxtyping import Float
from torch import Tensor

from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.kinds import check_has
from efface.data.prompts import texts
from efface.encoding import encode_classes
from efface.errors import EffaceWarning, InputError, offer
from efface.evaluation.base import Pair
from efface.evaluation.collateral import class_changes, confusions, retrieval_changes, retrieval_scores
from efface.evaluation.detail import Picture, retrieved
from efface.evaluation.other_texts import text_changes, text_scores
from efface.evaluation.retrieval import Retrieved
from efface.evaluation.summary import summaries
from efface.evaluation.zero_shot import Answers, OtherTexts, answer, changes, class_scores, scores
from efface.fitting import Fitting, limited
from efface.opening import Options as Options
from efface.opening import Source as Source
from efface.opening import classes_so, open_all
from efface.report.environment import environment
from efface.report.record import ClassScores, Measurement, OtherTextScores, Scores
from efface.report.used import data_used, left_out
from efface.report.weights import compare_weights
from efface.request import TEMPLATES, ClassTarget, check_templates, listed, texts_of, twice
from efface.types import Checkpoint

EDITED: tuple[Pair, ...] = ("both", "image", "text")


def evaluate(  # noqa: PLR0913 (keyword arguments are the interface of a verb)
    clip: LoadedCLIP,
    *,
    data: Sequence[Source],
    against: LoadedCLIP | None = None,
    gold: LoadedCLIP | None = None,
    name: str | Sequence[str] | None = None,
    forget_where: Mapping[str, str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    options: Options | None = None,
) -> Measurement:
    """Measures zero-shot accuracy of a model, or of a model against the one that it was made from.

    Args:
        clip: the model; its scores stand under ``after``.
        data: sources of held-out images.
        against: the base; its scores stand under ``before``, and mixed towers and paired changes are measured too.
        gold: with a base, a model that was trained without what was forgotten, to stand beside.
        name: a class, or several, whose images are the *forget* split wherever a source has them.
        forget_where: of these classes only images that are so are the *forget* split, a value for some of a source's
            columns; their other images are *siblings*. Without a class, of all classes that have such images.
        templates: texts with ``{}`` for the class name.
        options: how to run.

    Raises:
        InputError: If the data cannot be used, no source has an image of a class that can be decoded, or the two models
            read images differently.
    """
    options = options or Options()
    texts_of_a_class = listed("templates", templates)
    check_templates(texts_of_a_class)
    _check_models(clip, against, gold)
    names = (name,) if isinstance(name, str) else tuple(name or ())
    if twice(names):
        raise InputError(f"the class {twice(names)[0]!r} is given twice", hint="give it once")
    held_out = open_all(clip, data, options, names, forget_where or {})
    names = names or classes_so(held_out)
    for wanted in names:
        _check_any_has(held_out, wanted)
    if against is not None and not names:
        text = "no class is named: nothing is known to have been forgotten, and there is no forget split"
        warnings.warn(text, EffaceWarning, stacklevel=2)
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
    return _beside_gold(measured, gold, held_out, texts_of_a_class, options)


def _beside_gold(
    measured: Measurement,
    gold: LoadedCLIP | None,
    held_out: Sequence[EvalData],
    templates: tuple[str, ...],
    options: Options,
) -> Measurement:
    """The same with the scores of a model that was trained without what was forgotten, if there is one."""
    if gold is None:
        return measured
    targets, scores = tuple(map(ClassTarget, measured.names)), measured.scores
    aim = measure((gold, None), held_out, templates, targets, options).measurement.scores.before
    return replace(measured, gold=aim, summaries=summaries(scores.before, scores.after, aim))


def _check_any_has(held_out: Sequence[EvalData], name: str) -> None:
    """Refuses a class of which no source has images, or none of the kind."""
    if any(source.has_images_of(name) for source in held_out):
        return
    for source in held_out:
        if source.of_classes([name]).any():
            check_has(source, name)
    known = {known: None for source in held_out for known in source.class_names}
    raise InputError(f"no source has an image of {name!r}", hint=offer(name, list(known)[:1000]))


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
    before = tuple(score for a in answers for score in (*scores(a, "before"), *retrieval_scores(a, "before")))
    after = tuple(s for pair in pairs for a in answers for s in (*scores(a, pair), *retrieval_scores(a, pair)))
    measurement = Measurement(
        model=(edited or base).source,
        against=None if edited is None else base.source,
        name=names[0] if names else None,
        templates=templates,
        weights=compare_weights(base.stored_state(), None if edited is None else edited.stored_state()),
        environment=environment(),
        precision=str(base.encoder.precision).removeprefix("torch."),
        data=tuple(data_used(source, names) for source in held_out),
        scores=Scores(before, after),
        summaries=summaries(before, after),
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


def _check_models(clip: LoadedCLIP, against: LoadedCLIP | None, gold: LoadedCLIP | None) -> None:
    if gold is not None and against is None:
        raise InputError(
            "gold stands beside a comparison, and there is no base", hint="give the base too, as --against"
        )
    for other in (against, gold):
        if other is not None:
            check_comparable(clip, other)


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
