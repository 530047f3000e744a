"""The layers of an image tower, and which of them hold the images to forget more than those to keep."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from efface.cut import CutTower
from efface.functional.fisher import mean_square, relative_fisher, top_rows
from efface.methods.base import only_trainable
from efface.types import ClassFeatures, DualEncoder, Features, Images, LabelledImages, WeightGroup

_KIND = re.compile(r"[._](?:weight|bias)$")

Pairs = Iterator[tuple[Images, Features]]
"""Images, one at a time, and the text feature that each is paired with."""


def layers(model: DualEncoder, blocks: int = 0) -> list[WeightGroup]:
    """Weight and bias of each layer of the image tower as one group, in the order of the tower.

    A layer has a matrix or a kernel: norms are none, and neither are tables of positions, nor the one vector that the
    attention pool of a SigLIP asks with.

    Args:
        model: only read.
        blocks: the last blocks alone, and what follows them; 0 for the whole tower.
    """
    groups = CutTower(model, blocks).groups() if blocks else list(model.weights("image"))
    found: dict[str, WeightGroup] = {}
    for group in groups:
        if not group.is_batch_norm and group.part != "embedding":
            name = _KIND.sub("", group.name)
            before = found[name].parameters if name in found else ()
            found[name] = replace(group, name=name, parameters=before + group.parameters)
    return [layer for layer in found.values() if any(p.ndim > 1 and len(p) > 1 for p in layer.parameters)]


def moved_layers(model: DualEncoder, reference: DualEncoder) -> list[WeightGroup]:
    """The layers of which a weight differs between two models of one kind, as groups of the first one's."""
    pairs = zip(layers(model), layers(reference), strict=True)
    return [a for a, b in pairs if any(not torch.equal(p, q) for p, q in zip(a.parameters, b.parameters, strict=True))]


def is_same(model: DualEncoder, reference: DualEncoder) -> bool:
    """Whether two models of one kind hold the same weights and statistics, bit for bit."""
    of = (one.module.state_dict().values() for one in (model, reference))
    return all(torch.equal(mine, other) for mine, other in zip(*of, strict=True))


def same_layers(model: DualEncoder, chosen: Sequence[WeightGroup]) -> list[WeightGroup]:
    """The layers of a model that bear the names of these, which are another one's of its kind."""
    names = {layer.name for layer in chosen}
    return [layer for layer in layers(model) if layer.name in names]


def depth_of(model: DualEncoder, chosen: Sequence[WeightGroup]) -> int:
    """How many of the last blocks it takes to hold all of these layers: where a :class:`~efface.cut.CutTower` is cut.

    The number of all blocks, which means the whole tower, where one of the layers lies before them.
    """
    wanted = {id(p) for group in chosen for p in group.parameters}
    most = max(len(model.image_blocks()), 1)
    tails = ({id(p) for group in CutTower(model, d).groups() for p in group.parameters} for d in range(1, most))
    return next((d for d, tail in enumerate(tails, start=1) if wanted <= tail), most)


def pairs(images: LabelledImages | None, classes: ClassFeatures, count: int, *, rng: torch.Generator) -> Pairs:
    """Some ``count`` of the images with their class texts; none where there are no images."""
    if images is not None:
        for image, label in islice(images.batches(1, rng=rng), count):
            yield image, classes[label.to(classes.device)]


def fisher_of(
    model: DualEncoder, groups: Sequence[WeightGroup], of: Pairs, advance: Callable[[int], None] = lambda _: None
) -> Float[Tensor, " layers"]:
    """Of each layer the mean squared gradient of the cosine of an image with its text, a mean over images.

    Args:
        model: whose weights are as they were afterwards.
        groups: the layers.
        of: images with their texts; 0 is the answer where there are none.
        advance: told of every image.
    """
    total, count = torch.zeros(len(groups), device=model.device), 0
    with only_trainable(model.module, groups) as weights:
        for image, text in of:
            cosine = (model.encode_image(image.to(model.device)) * text).sum()
            found = torch.autograd.grad(cosine, weights, allow_unused=True)
            gradients = {id(p): g for p, g in zip(weights, found, strict=True) if g is not None}
            for row, group in enumerate(groups):
                own = [gradients[id(p)] for p in group.parameters if id(p) in gradients]
                total[row] += mean_square(own) if own else 0.0
            count += 1
            advance(1)
    return total / max(count, 1)


def chosen_layers(
    model: DualEncoder,
    candidates: Sequence[WeightGroup],
    forget: Pairs,
    retain: Pairs,
    share: float,
    advance: Callable[[int], None] = lambda _: None,
) -> list[WeightGroup]:
    """The share of the candidates with the largest relative Fisher information, in the order of the tower.

    Args:
        model: whose layers the candidates are.
        candidates: in the order of the tower.
        forget: images to forget with their texts.
        retain: images to keep with theirs; without any the information on the others alone decides.
        share: of the candidates, rounded up.
        advance: told of every image.
    """
    of_forget = fisher_of(model, candidates, forget, advance)
    of_retain = fisher_of(model, candidates, retain, advance)
    return [candidates[row] for row in top_rows(relative_fisher(of_forget, of_retain), share)]
