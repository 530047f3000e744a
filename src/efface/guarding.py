"""Images that stand for all that is to stay: near the classes next to those that go, and near random others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from efface.backends.base import LoadedCLIP
from efface.checkpoint_files import Stage
from efface.encoding import encode_classes
from efface.siblings import Rows, by_nearness, siblings
from efface.stages import in_memory, stream
from efface.synthesis import GUARD, guard_synthesizer
from efface.synthesis.base import Synthesizer
from efface.types import ClassFeatures, ForgetData, Labels, Reporter, TensorImages, Within


def guard_rows(
    classes: ClassFeatures,
    targets: tuple[int, ...],
    count: int,
    *,
    rng: torch.Generator,
    near: Rows | None = None,
    own: float = 0.0,
) -> Labels:
    """The class that each image of a guard is to be near to.

    Half of them go round the siblings of the targets, the others round all the rest in a random order; where there is
    no rest, all go round the siblings. Before that some go round the targets themselves, of which other kinds stay.

    Args:
        classes: one unit vector a class.
        targets: rows of the classes that are to go, or a kind of them.
        count: how many images.
        rng: on the CPU.
        near: the siblings; by default the classes whose texts are nearest to a target's.
        own: the share of the targets themselves; none where they are to go as a whole.
    """
    near = siblings(classes, targets) if near is None else near
    order = by_nearness(classes, targets)
    rest = order[~torch.isin(order, near)]
    if not len(rest):
        rest = near
    rest = rest[torch.randperm(len(rest), generator=rng)]
    of_targets = int(own * count)
    half = (count - of_targets) // 2

    def round_and_round(some: Int[Tensor, " some"], n: int) -> Labels:
        return some.repeat(-(-n // len(some)))[:n]

    parts = [(torch.tensor(targets), of_targets), (near, half), (rest, count - of_targets - half)]
    return torch.cat([round_and_round(some, n) for some, n in parts])


def with_guard(  # noqa: PLR0913 (all that they are made of)
    clip: LoadedCLIP,
    data: ForgetData,
    count: int,
    *,
    seed: int,
    stage: Stage,
    reporter: Reporter,
    synthesizer: Synthesizer = GUARD,
    hierarchy: tuple[Sequence[str], Mapping[str, str]] = ((), {}),
    own: float = 0.0,
) -> ForgetData:
    """The same with ``count`` images of a guard, made by ascent on the model; they need pass no test.

    As many of them climb at once as the synthesizer takes, where it takes several. The hierarchy is that of
    :func:`~efface.siblings.siblings`, after the names of the classes; ``own`` is that of :func:`guard_rows`.
    """
    encoder, guard = clip.encoder, guard_synthesizer(synthesizer)
    classes = encode_classes(encoder, data.class_tokens)
    near = siblings(classes, data.targets, *hierarchy)
    rows = guard_rows(classes, data.targets, count, rng=stream(seed, "guard classes"), near=near, own=own)
    if stage.result is not None:
        images = stage.result["images"].to(encoder.device)
    else:
        rng, known = stream(seed, "guard", encoder.device), stage.take()
        if known is not None:
            rng.set_state(known["rng"])
        checkpoint = Within(stage, known and known["part"], lambda: {"rng": rng.get_state()})
        with in_memory("the synthesis of a guard"):
            made = guard.for_targets(
                encoder, classes, rows, rng=rng, reporter=reporter, checkpoint=checkpoint, must_pass=False
            )
        images = made.images
        stage.finish(lambda: {"images": images.cpu()})
    return replace(data, guard=TensorImages(images, rows))
