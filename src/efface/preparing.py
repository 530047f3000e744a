"""What a method is handed: the texts of all classes, its own, and images of what is to be forgotten."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from efface.backends.base import LoadedCLIP, digest
from efface.checkpoint_files import Stage
from efface.choosing import ASIDE, Lot, Role, counts, few
from efface.data.alike import Origin
from efface.data.holdout import EvalData
from efface.data.own import rows_of, taken
from efface.data.prompts import texts
from efface.data.sifted import Sifted
from efface.data.sifting import sift
from efface.encoding import encode_classes
from efface.errors import InputError, counted
from efface.methods.base import ForgetMethod
from efface.picking import picked, probabilities
from efface.report.record import Handed, OwnImages
from efface.request import ForgetRequest, in_words
from efface.siblings import siblings
from efface.stages import in_memory, plain_trace, resuming, stream, trace_of, trace_state
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import (
    ClassTokens,
    ForgetData,
    LabelledImages,
    Labels,
    Needs,
    Reporter,
    State,
    TensorImages,
    Trace,
    Within,
)

STATISTICS = 256
"""Images of a pool that statistics are taken of."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a method is handed, and where its images come from.

    Attributes:
        data: for the method.
        synthetic: the images that were made; None where none were.
        own: what a record says of the user's own images; None where there are none.
        handed: what it says of the others that were given.
        sifted: what was found among all that were given, and left out.
    """

    data: ForgetData
    synthetic: Synthetic | None = None
    own: OwnImages | None = None
    handed: tuple[Handed, ...] = ()
    sifted: Sifted = field(default_factory=Sifted)


def prepare(  # noqa: PLR0913 (all that it is made of)
    clip: LoadedCLIP,
    request: ForgetRequest,
    method: ForgetMethod,
    synthesizer: Synthesizer,
    stage: Stage,
    reporter: Reporter,
    lots: Sequence[Lot] = (),
    held_out: Sequence[EvalData] = (),
) -> Prepared:
    """What the method asked for: the texts, images that were made for it, or were chosen from the user's own.

    The held-out images are compared with the user's, and nothing of them is handed on.

    Raises:
        InputError: If an image of the user's cannot be decoded and is not to be skipped, none of a class can, or none
            of a pool is held to be of a class that stays.
        LeakError: If held-out images are near duplicates of the user's, and that is to be refused.
    """
    lots, sifted = _sifted(clip, request, lots, held_out, reporter)
    needs, more = method.needs, request.texts[len(request.targets) :]

    def tokens_in(templates: tuple[str, ...]) -> ClassTokens:
        named = [texts(templates, name) for name in request.among]
        return clip.class_tokens([*named, *(text.texts(templates) for text in more)])

    tokens = tokens_in(request.templates)
    prompt = needs.prompt
    if prompt is not None:
        prompts = clip.tokenize([text.texts((prompt,))[0] for text in request.texts])
    wider = tokens_in(needs.more_prompts) if needs.more_prompts else None
    data = ForgetData(
        request.rows, tokens, None if prompt is None else prompts, more_tokens=wider, target_groups=request.groups
    )
    found = Prepared(data, sifted=sifted)
    if needs.forget_images:
        own = next((lot for lot in lots if lot.role == "forget"), None)
        if own is not None:
            images, given = _own(own, request, needs.forget_images, clip.encoder.device)
            found = replace(found, data=replace(data, forget=images), own=given)
        else:
            made, labels = _synthesized(clip, request, tokens, needs.forget_images, synthesizer, stage, reporter)
            found = replace(found, data=replace(data, forget=TensorImages(made.images, labels)), synthetic=made)
    return _with_others(clip, request, needs, lots, found)


def has_images_of_each(request: ForgetRequest, prepared: Prepared) -> bool:
    """Whether each class has an image to be forgotten by: without one its stop rule would hold from the start."""
    forget = prepared.data.forget
    rows = set() if forget is None else set(forget.labels.tolist())
    return {text.name for text, row in zip(request.texts, request.rows, strict=True) if row in rows} == {
        target.name for target in request.targets
    }


def images_digest(images: LabelledImages | None) -> str | None:
    """The sha256 of images that are held in memory, and of their labels; None where there are none."""
    if not isinstance(images, TensorImages):
        return None
    return digest({"images": images.images, "labels": images.labels})


def _sifted(
    clip: LoadedCLIP, request: ForgetRequest, lots: Sequence[Lot], held_out: Sequence[EvalData], reporter: Reporter
) -> tuple[list[Lot], Sifted]:
    """What is left of the images that are given, and what was found among them."""
    name_of = {row: text.name for row, text in zip(request.rows, request.texts, strict=True)}
    names: dict[Role, list[str]] = {
        lot.role: [name_of[row] for row in lot.labels.tolist()]
        for lot in lots
        if lot.role in ("forget", "calibration_forget")
    }
    given = {lot.role: Origin(lot.source, lot.rows) for lot in lots}
    left, found = sift(clip.encoder, given, names, held_out, request.sifting, reporter)
    kept = [replace(lot, rows=lot.rows[left[lot.role]], labels=lot.labels[left[lot.role]]) for lot in lots]
    return [lot for lot in kept if len(lot.rows)], found


def _with_others(
    clip: LoadedCLIP, request: ForgetRequest, needs: Needs, lots: Sequence[Lot], found: Prepared
) -> Prepared:
    """The same with the images that are no images to be trained on as what is to go."""
    others = [lot for lot in lots if lot.role not in ("forget", "pool")]
    pool = next((lot for lot in lots if lot.role == "pool"), None)
    if pool is not None:
        rows = pool.rows[:STATISTICS]
        others.append(replace(pool, rows=rows, labels=pool.labels[: len(rows)]))
        others += _picked(clip, request, needs, pool, found.data.class_tokens, {lot.role for lot in others})
    fields: dict[str, Any] = {}
    handed = []
    for lot in others:
        images, kept = taken(lot.source, lot.rows)
        fields[lot.role] = TensorImages(images.to(clip.encoder.device), lot.labels[kept])
        names = () if lot.role == "pool" else [request.among[label] for label in lot.labels[kept].tolist()]
        handed.append(
            Handed(
                role=lot.role,  # type: ignore[arg-type]
                source=lot.source.source,
                sha256=lot.source.sha256,
                how=lot.how,
                used=dict(Counter(names)),
                drawn=str(images_digest(fields[lot.role])),
                skipped=tuple(lot.source.skipped.reasons.values()),
                note=lot.note,
            )
        )
    return replace(found, data=replace(found.data, **fields), handed=tuple(handed))


def _picked(
    clip: LoadedCLIP, request: ForgetRequest, needs: Needs, pool: Lot, tokens: ClassTokens, known: Collection[str]
) -> Iterator[Lot]:
    """What is to stay, and some of it to choose by, out of images without labels, where there are no others."""
    if not needs.retain_images or "retain" in known:
        return
    classes = encode_classes(clip.encoder, tokens)
    near = siblings(classes, request.rows, request.among, request.beside.hierarchy).tolist()
    probable, rows = probabilities(clip.encoder, classes, pool)
    rng = stream(request.seed, "picked")
    wanted = needs.retain_images + (0 if "calibration" in known else needs.calibration_images)
    chosen, labels = picked(probable, request.rows, near, wanted, rng=rng)
    if not len(chosen):
        raise InputError(
            f"none of {counted(len(rows), 'image')} of {pool.source.source!r} is surely of a class that is to stay",
            hint="give images that show other classes, or leave them out: then synthetic ones are made",
        )
    # In any order: those of siblings come first.
    order = torch.randperm(len(chosen), generator=rng)
    aside = max(0, len(chosen) - needs.retain_images, (wanted > needs.retain_images) * len(chosen) // ASIDE)
    of_near = int(torch.isin(labels, torch.tensor(near)).sum())
    how = f"picked by the model, with what it held to be siblings in {of_near} of {len(chosen)}, out of {len(rows)}"
    parts: tuple[tuple[Role, Labels], ...] = (("calibration", order[:aside]), ("retain", order[aside:]))
    for role, some in parts:
        if len(some):
            note = few(role, needs.retain_images, len(some)) if role == "retain" else ""
            yield Lot(role, pool.source, rows[chosen[some]], labels[some], how, note)


def _own(lot: Lot, request: ForgetRequest, count: int, device: torch.device) -> tuple[TensorImages, OwnImages]:
    """The user's images that are to be forgotten, and what a record says of them."""
    own = lot.source
    images, kept = taken(own, lot.rows)
    labels = lot.labels[kept]
    name_of = {row: text.name for row, text in zip(request.rows, request.texts, strict=True)}
    used = Counter(name_of[row] for row in labels.tolist())
    found = {target.name: len(rows_of(own, target.name)) for target in request.targets}
    lost = next((name for name in found if not used[name]), None)
    if lost is not None:
        raise InputError(
            f"none of the images of {lost!r} drawn from {own.source!r} can be decoded",
            hint="give other images of it, or ask for more of them: efface methods names the setting",
        )
    few = [f"{used[name]} of {name}" for name in found if used[name] < count]
    drawn = TensorImages(images.to(device), labels)
    given = OwnImages(
        source=own.source,
        sha256=own.sha256,
        found=found,
        used={name: used[name] for name in found},
        drawn=str(images_digest(drawn)),
        skipped=tuple(own.skipped.reasons.values()),
        note=f"the method asks for {count} images a class, and was handed {in_words(few)}" if few else "",
    )
    return drawn, given


def _synthesized(  # noqa: PLR0913 (all that images are made of)
    clip: LoadedCLIP,
    request: ForgetRequest,
    tokens: ClassTokens,
    count: int,
    synthesizer: Synthesizer,
    stage: Stage,
    reporter: Reporter,
) -> tuple[Synthetic, Labels]:
    """Images of each text that is to be forgotten, one text after the other, and the row of the text of each."""
    encoder = clip.encoder
    wanted = [found for found in zip(request.texts, request.rows, counts(request, count), strict=True) if found[2]]
    made: list[Synthetic] = []
    if stage.result is not None:
        made = _read(stage.result, encoder.device)
    rng, known = stream(request.seed, "synthesis", encoder.device), stage.take()
    if known is not None:
        rng.set_state(known["rng"])
        made = _read(known, encoder.device)
    part = known and known["part"]
    for text, row, n in wanted[len(made) :]:
        checkpoint = Within(stage, part, lambda: {"rng": rng.get_state(), **_state(made)})
        make = resuming(synthesizer.__call__, checkpoint)
        # In the place of its class: what means the same is no rival.
        target = request.among.index(text.name)
        classes = tokens[: len(request.among)].clone()
        classes[target] = tokens[row]
        with in_memory("the synthesis"):
            found = make(encoder, classes, target, n, rng=rng, reporter=reporter)
        made.append(replace(found, trace=plain_trace(found.trace)))
        part = None
    if stage.result is None:
        stage.finish(lambda: _state(made))
    rows = [torch.full((len(one.images),), row) for one, (_, row, _) in zip(made, wanted, strict=True)]
    return _joined(made, [text.text for text, _, _ in wanted]), torch.cat(rows)


def _joined(made: list[Synthetic], of: list[str]) -> Synthetic:
    """All that was made as one; of several texts each step says which it was for."""
    if len(made) == 1:
        return made[0]
    steps = tuple({"text": text, **step} for one, text in zip(made, of, strict=True) for step in one.trace.steps)
    reason = "; ".join(f"{text}: {one.trace.reason}" for one, text in zip(made, of, strict=True))
    trace = Trace(steps, reached=all(one.trace.reached for one in made), reason=reason)
    return Synthetic(torch.cat([one.images for one in made]), trace)


def _state(made: list[Synthetic]) -> State:
    return {"made": [{"images": one.images.cpu(), **trace_state(one.trace)} for one in made]}


def _read(state: State, device: torch.device) -> list[Synthetic]:
    return [Synthetic(one["images"].to(device), trace_of(one)) for one in state["made"]]
