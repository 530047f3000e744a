"""Features of held-out images by several models, in one pass over the images."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from efface.backends.base import LoadedCLIP, TowerPair
from efface.data.holdout import EvalData
from efface.data.images import StoredImages, lost_workers_named
from efface.data.symbols import SymbolImages
from efface.encoding import finite
from efface.errors import InputError
from efface.fitting import Fitting
from efface.functional.probes import Vectors
from efface.types import Images, Labels, Reporter

Layer = Literal["final", "penultimate"]
"""*final*: the unit vectors that are compared with texts; *penultimate*: what the last map makes them of."""
LAYERS: tuple[Layer, ...] = get_args(Layer)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Features of some images by one model.

    Attributes:
        labels: the class of each image: 0 the forgotten one, then its neighbours, nearest first.
        features: by layer, one vector an image.
        digests: the SHA-256 of each image as the model takes it; equal images have the same.
    """

    labels: Labels
    features: Mapping[Layer, Vectors]
    digests: tuple[str, ...] = ()

    def take(self, rows: Int[Tensor, " rows"]) -> "Gathered":
        """Some of the images."""
        features = {layer: vectors[rows] for layer, vectors in self.features.items()}
        return Gathered(self.labels[rows], features, tuple(self.digests[row] for row in rows.tolist()))


@torch.no_grad()
@lost_workers_named()
def gather(
    encoders: Mapping[str, TowerPair],
    data: EvalData,
    labels: Sequence[int | None],
    *,
    batch_size: int,
    reporter: Reporter,
) -> Mapping[str, Gathered]:
    """Features of the images of some classes by each model, in one pass over the images.

    Args:
        encoders: the models.
        data: where the images are.
        labels: the classes by their labels in the data; None for one whose images are not wanted.
        batch_size: images at a time.
        reporter: told of every image.

    Raises:
        InputError: If no image of a wanted class can be decoded.
        NotFiniteError: If a model puts out NaN or infinite features.
    """
    place = torch.full((len(data.class_names),), -1)
    for row, label in enumerate(labels):
        if label is not None:
            place[label] = row
    wanted = torch.nonzero(place[data.images.labels] >= 0)[:, 0]
    fitting = Fitting(batch_size)
    classes: list[Labels] = []
    digests: list[str] = []
    parts: dict[tuple[str, Layer], list[Vectors]] = {(model, layer): [] for model in encoders for layer in LAYERS}
    with reporter.stage(f"features of {Path(data.source).name}", len(wanted)) as advance:
        for images, rows in _batches(data, place, wanted, batch_size):
            for (model, layer), part in parts.items():
                part.append(fitting(partial(_encoded, encoders[model], layer), images))
            classes.append(rows)
            digests += [hashlib.sha256(image.cpu().numpy().tobytes()).hexdigest() for image in images]
            advance(len(rows))
    present = set(torch.cat(classes).tolist()) if classes else set()
    for row, label in enumerate(labels):
        if label is not None and row not in present:
            raise InputError(
                f"no image of {data.class_names[label]!r} in {data.source!r} can be decoded",
                hint="look at one of them in an image viewer",
            )
    return {
        model: Gathered(torch.cat(classes), {layer: torch.cat(parts[model, layer]) for layer in LAYERS}, tuple(digests))
        for model in encoders
    }


def _batches(data: EvalData, place: Labels, wanted: Int[Tensor, " rows"], size: int) -> Iterator[tuple[Images, Labels]]:
    """The wanted images, and their classes; no other is decoded where that can be helped."""
    given = data.images
    chosen = given.in_order(wanted, size) if isinstance(given, StoredImages | SymbolImages) else given.batches(size)
    for images, labels in chosen:
        rows = place[labels]
        if (rows >= 0).any():
            yield images[rows >= 0], rows[rows >= 0]


def _encoded(encoder: TowerPair, layer: Layer, images: Images) -> Vectors:
    images = images.to(encoder.device)
    return finite(encoder.encode_image(images) if layer == "final" else encoder.penultimate(images), "image").cpu()


def encoders_of(models: Mapping[str, LoadedCLIP]) -> Mapping[str, TowerPair]:
    """The towers of models that read images alike.

    Raises:
        InputError: If one has no penultimate features, or reads images in another way than the first.
    """
    found: dict[str, TowerPair] = {}
    for called, clip in models.items():
        if not isinstance(clip.encoder, TowerPair):
            raise InputError(
                f"{called} is a {type(clip.encoder).__name__}, of which no penultimate features are known",
                hint="give models that efface.load opened",
            )
        found[called] = clip.encoder
    first = next(iter(found))
    for called, encoder in found.items():
        if encoder.pixels != found[first].pixels:
            raise InputError(
                f"{called} reads images by {encoder.pixels}, {first} by {found[first].pixels}",
                hint="compare models that were made from one another",
            )
    return found
