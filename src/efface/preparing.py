"""What a method is handed: the texts of all classes, its own, and images of what is to be forgotten."""

from dataclasses import replace

import torch

from efface.backends.base import LoadedCLIP, digest
from efface.checkpoint_files import Stage
from efface.data.prompts import texts
from efface.methods.base import ForgetMethod
from efface.request import ForgetRequest
from efface.stages import in_memory, plain_trace, resuming, stream, trace_of, trace_state
from efface.synthesis.base import Synthesizer, Synthetic
from efface.types import ClassTokens, ForgetData, Labels, Reporter, State, TensorImages, Trace, Within


def prepare(
    clip: LoadedCLIP,
    request: ForgetRequest,
    method: ForgetMethod,
    synthesizer: Synthesizer,
    stage: Stage,
    reporter: Reporter,
) -> tuple[ForgetData, Synthetic | None]:
    """What the method asked for, and the images that were made for it."""
    needs, more = method.needs, request.texts[len(request.targets) :]
    named = [texts(request.templates, name) for name in request.among]
    added = [tuple(texts((text.template(t),), text.text)[0] for t in request.templates) for text in more]
    tokens = clip.class_tokens([*named, *added])
    prompt = needs.prompt
    if prompt is not None:
        prompts = clip.tokenize([texts((text.template(prompt),), text.text)[0] for text in request.texts])
    data = ForgetData(request.rows, tokens, None if prompt is None else prompts)
    if not needs.forget_images:
        return data, None
    made, labels = _synthesized(clip, request, tokens, needs.forget_images, synthesizer, stage, reporter)
    return replace(data, forget=TensorImages(made.images, labels)), made


def counts(request: ForgetRequest, images: int) -> tuple[int, ...]:
    """How many images of each text: of a class ``images``, shared evenly with its aliases and phrases.

    What cannot be shared evenly goes to the first of them; the class is the first.
    """
    found, of_class = [], [text.name for text in request.texts]
    for i, name in enumerate(of_class):
        share, left = divmod(images, of_class.count(name))
        found.append(share + (of_class[:i].count(name) < left))
    return tuple(found)


def images_digest(data: ForgetData) -> str | None:
    """The sha256 of images that are held in memory, and of their labels; None where there are none."""
    if not isinstance(data.forget, TensorImages):
        return None
    return digest({"images": data.forget.images, "labels": data.forget.labels})


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
