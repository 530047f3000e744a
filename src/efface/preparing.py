"""What a method is handed: the texts of all classes, its own, and images of what is to be forgotten."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from efface.backends.base import LoadedCLIP, digest
from efface.checkpoint_files import Stage
from efface.data.alike import Origin
from efface.data.holdout import EvalData
from efface.data.images import Rows
from efface.data.own import rows_of, taken
from efface.data.prompts import texts
from efface.data.sifted import Part, Sifted
from efface.data.sifting import sift
from efface.errors import InputError
from efface.methods.base import ForgetMethod
from efface.report.record import OwnImages
from efface.request import ForgetRequest, in_words
from efface.stages import in_memory, plain_trace, resuming, stream, trace_of, trace_state
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import ClassTokens, ForgetData, LabelledImages, Labels, Reporter, State, TensorImages, Trace, Within


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a method is handed, and where its images come from.

    Attributes:
        data: for the method.
        synthetic: the images that were made; None where none were.
        own: what a record says of the user's own images; None where there are none.
        sifted: what was found among those, and left out.
    """

    data: ForgetData
    synthetic: Synthetic | None = None
    own: OwnImages | None = None
    sifted: Sifted = field(default_factory=Sifted)


def prepare(  # noqa: PLR0913 (all that it is made of)
    clip: LoadedCLIP,
    request: ForgetRequest,
    method: ForgetMethod,
    synthesizer: Synthesizer,
    stage: Stage,
    reporter: Reporter,
    own: EvalData | None = None,
    held_out: Sequence[EvalData] = (),
) -> Prepared:
    """What the method asked for, and the images that were made for it, or drawn from the user's own.

    The held-out images are compared with those, and nothing of them is handed on.

    Raises:
        InputError: If an image of the user's cannot be decoded and is not to be skipped, or none of a class can.
        LeakError: If held-out images are near duplicates of the user's, and that is to be refused.
    """
    needs, more = method.needs, request.texts[len(request.targets) :]

    def tokens_in(templates: tuple[str, ...]) -> ClassTokens:
        named = [texts(templates, name) for name in request.among]
        return clip.class_tokens([*named, *(text.texts(templates) for text in more)])

    tokens = tokens_in(request.templates)
    prompt = needs.prompt
    if prompt is not None:
        prompts = clip.tokenize([text.texts((prompt,))[0] for text in request.texts])
    wider = tokens_in(needs.more_prompts) if needs.more_prompts else None
    data = ForgetData(request.rows, tokens, None if prompt is None else prompts, more_tokens=wider)
    if not needs.forget_images:
        return Prepared(data)
    if own is not None:
        rows, labels = _drawn(own, request, needs.forget_images)
        of = [_class_of(request)[label] for label in labels.tolist()]
        given: dict[Part, Origin] = {"forget": Origin(own, rows)}
        left, found = sift(clip.encoder, given, of, held_out, request.sifting, reporter)
        images = _decoded(own, request, rows[left["forget"]], labels[left["forget"]])
        data = replace(data, forget=replace(images, images=images.images.to(clip.encoder.device)))
        return Prepared(data, None, _given(own, request, needs.forget_images, images), found)
    made, labels = _synthesized(clip, request, tokens, needs.forget_images, synthesizer, stage, reporter)
    return Prepared(replace(data, forget=TensorImages(made.images, labels)), made)


def counts(request: ForgetRequest, images: int) -> tuple[int, ...]:
    """How many images of each text: of a class ``images``, shared evenly with its aliases and phrases.

    What cannot be shared evenly goes to the first of them; the class is the first.
    """
    found, of_class = [], [text.name for text in request.texts]
    for i, name in enumerate(of_class):
        share, left = divmod(images, of_class.count(name))
        found.append(share + (of_class[:i].count(name) < left))
    return tuple(found)


def images_digest(images: LabelledImages | None) -> str | None:
    """The sha256 of images that are held in memory, and of their labels; None where there are none."""
    if not isinstance(images, TensorImages):
        return None
    return digest({"images": images.images, "labels": images.labels})


def _drawn(own: EvalData, request: ForgetRequest, count: int) -> tuple[Rows, Labels]:
    """Some of the user's images of each class by their rows, and the row of a text of the class for each."""
    rng, rows, labels = stream(request.seed, "own images"), [], []
    for target in request.targets:
        of_class = rows_of(own, target.name)
        chosen = of_class[torch.randperm(len(of_class), generator=rng)][:count]
        shares = zip(request.texts, request.rows, counts(request, len(chosen)), strict=True)
        labels += [row for text, row, n in shares if text.name == target.name for _ in range(n)]
        rows.append(chosen)
    return torch.cat(rows), torch.tensor(labels)


def _decoded(own: EvalData, request: ForgetRequest, rows: Rows, labels: Labels) -> TensorImages:
    """Those of these images that can be decoded."""
    decoded, kept = taken(own, rows)
    used = set(map(_class_of(request).get, labels[kept].tolist()))
    lost = next((target.name for target in request.targets if target.name not in used), None)
    if lost is not None:
        raise InputError(
            f"none of the images of {lost!r} drawn from {own.source!r} can be decoded",
            hint="give other images of it, or ask for more of them: efface methods names the setting",
        )
    return TensorImages(decoded, labels[kept])


def _given(own: EvalData, request: ForgetRequest, count: int, images: TensorImages) -> OwnImages:
    """What a record says of the user's images of which the method is handed these."""
    used = Counter(map(_class_of(request).get, images.labels.tolist()))
    names = [target.name for target in request.targets]
    few = [f"{used[name]} of {name}" for name in names if used[name] < count]
    return OwnImages(
        source=own.source,
        sha256=own.sha256,
        found={name: len(rows_of(own, name)) for name in names},
        used={name: used[name] for name in names},
        drawn=str(images_digest(images)),
        skipped=tuple(own.skipped.reasons.values()),
        note=f"the method asks for {count} images a class, and was handed {in_words(few)}" if few else "",
    )


def _class_of(request: ForgetRequest) -> dict[int, str]:
    """The class that each text of the request means, by the text's row."""
    return {row: text.name for text, row in zip(request.texts, request.rows, strict=True)}


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
