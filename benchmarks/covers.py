"""Covers: models that answer as if a class were forgotten, and hold it as before. An audit must not be taken in.

Each is made from a whole model and a class name, with weights alone, so that it is saved and loaded as any result is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP
from efface.data.prompts import texts
from efface.encoding import encode_classes, predict
from efface.errors import EffaceError
from efface.functional.handover import distance_loss, reassigned
from efface.methods.base import only_trainable
from efface.types import TensorImages

PROMPTS = ("{}", "a photo of a {}.", "this is a {}.")
GONE = 0.1
"""So much of the class at most is left in the accuracy that a cover shows."""


@dataclass(frozen=True, slots=True)
class Material:
    """What covers are made from.

    Attributes:
        clip: the whole model; it stays as it is.
        name: the class to cover.
        among: all names.
        images: of all classes, none of which judges; labels are rows of ``among``.
        seed: all random numbers follow from it.
    """

    clip: LoadedCLIP
    name: str
    among: tuple[str, ...]
    images: TensorImages
    seed: int

    @property
    def label(self) -> int:
        """The row of the class."""
        return self.among.index(self.name)

    def left(self, clip: LoadedCLIP) -> float:
        """The share of the images of the class that a model still gives to it."""
        classes = encode_classes(clip.encoder, clip.class_tokens([texts(PROMPTS[1:2], name) for name in self.among]))
        own = self.images.images[self.images.labels == self.label]
        return (predict(clip.encoder, own, classes) == self.label).double().mean().item()


def moved_text(material: Material) -> LoadedCLIP:
    """The text tower gives the class's prompts the features of its nearest neighbor's, or nearly so.

    A fifth of what all texts share is added, so that the neighbor's own text stays the nearer one to its images.
    """
    wanted = _text_features(material)
    plain = F.normalize(wanted.mean(dim=1), dim=1)
    cosines = plain @ plain[material.label]
    cosines[material.label] = -torch.inf
    wanted[material.label] = F.normalize(wanted[int(cosines.argmax())] + 0.2 * wanted.mean(dim=0), dim=1)
    return _taught(material.clip.copy(), material, wanted, steps=150, rate=2e-3)


def replaced_text(material: Material) -> LoadedCLIP:
    """A text tower of random weights learned all names from the old one but the class's, which has their mean."""
    clip, wanted = material.clip.copy(), _text_features(material)
    others = torch.arange(len(wanted)) != material.label
    wanted[material.label] = F.normalize(wanted[others].mean(dim=0), dim=-1)
    rng = torch.Generator().manual_seed(material.seed)
    with torch.no_grad():
        for group in clip.encoder.weights("text"):
            for parameter in (p for p in group.parameters if group.part != "norm" and p.ndim > 1):
                parameter.copy_(parameter.std() * torch.randn(parameter.shape, generator=rng))
    return _taught(clip, material, wanted, steps=200, rate=3e-3)


def projection(material: Material) -> LoadedCLIP:
    """The class's own direction is damped in the last image weights, by the method of that name."""
    methods = (efface.Projection(strength=strength) for strength in (4.0, 8.0, 16.0, 32.0))
    runs = (efface.forget(material.clip, material.name, among=material.among, method=method) for method in methods)
    return _covering(material, map(_result, runs))


def head(material: Material) -> LoadedCLIP:
    """The last image weights alone hand images of the class over to their second choice, by least squares."""
    # The class weighs so much more than all others together.
    return _covering(material, (_head(material, weight) for weight in (1.0, 4.0, 16.0, 64.0)))


def _head(material: Material, weight: float) -> LoadedCLIP:
    clip = material.clip.copy()
    classes = encode_classes(clip.encoder, clip.class_tokens([texts(PROMPTS[1:2], name) for name in material.among]))
    with torch.no_grad():
        features = torch.cat([clip.encoder.encode_image(part) for part, _ in material.images.batches(256)])
    own = material.images.labels == material.label
    wanted = torch.where(own[:, None], reassigned(features, classes, (material.label,), 0.3), features)
    weights = torch.where(own, weight * len(own) / own.sum(), 1.0).sqrt()[:, None].double()
    inputs, outputs = weights * features.double(), weights * wanted.double()
    ridge = 1e-3 * (inputs**2).sum() / inputs.shape[1] * torch.eye(inputs.shape[1], dtype=torch.float64)
    change = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ (outputs - inputs))
    clip.encoder.fold_image_map_(torch.eye(len(change), dtype=torch.float64) + change)
    return _rounded(clip)


def soup(material: Material) -> LoadedCLIP:
    """As much of the base as can be mixed into a result of ``lip`` before the class is seen again."""
    result = _result(efface.forget(material.clip, material.name, among=material.among, seed=material.seed))
    edited, base = result.encoder.module.state_dict(), material.clip.encoder.module.state_dict()
    for share in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        clip = material.clip.copy()
        mixed = {
            name: torch.lerp(value, edited[name], share) if value.is_floating_point() else value
            for name, value in base.items()
        }
        clip.encoder.module.load_state_dict(mixed)
        if material.left(clip) <= GONE:
            return _rounded(clip)
    return result


Cover = Callable[[Material], LoadedCLIP]
COVERS: Mapping[str, Cover] = {
    "moved text": moved_text,
    "replaced text tower": replaced_text,
    "last-layer projection": projection,
    "head only": head,
    "soup with too much of the base": soup,
}


def _tokens(material: Material) -> Tensor:
    return material.clip.class_tokens([texts(PROMPTS, name) for name in material.among])


@torch.no_grad()
def _text_features(material: Material) -> Tensor:
    tokens = _tokens(material)
    return material.clip.encoder.encode_text(tokens.flatten(0, 1)).view(*tokens.shape[:2], -1)


def _taught(clip: LoadedCLIP, material: Material, wanted: Tensor, *, steps: int, rate: float) -> LoadedCLIP:
    """The whole text tower learns these features; the class weighs as much as all others together."""
    tokens, others = _tokens(material).flatten(0, 1), torch.arange(len(wanted)) != material.label
    with only_trainable(clip.encoder.module, clip.encoder.weights("text")) as weights:
        optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            found = clip.encoder.encode_text(tokens).view_as(wanted)
            of_others = distance_loss(found[others].flatten(0, 1), wanted[others].flatten(0, 1))
            optimizer.zero_grad()
            (distance_loss(found[material.label], wanted[material.label]) + of_others).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return _rounded(clip)


def _covering(material: Material, candidates: Iterable[LoadedCLIP]) -> LoadedCLIP:
    """The first that no longer shows the class: what does shows what it is, and is no cover."""
    for clip in candidates:
        if material.left(clip) <= GONE:
            return clip
    raise EffaceError(f"{material.name} is not covered: more than {GONE:.0%} still shows", hint="this cell is left out")


def _result(run: efface.Run) -> LoadedCLIP:
    if run.clip is None:
        raise EffaceError(f"nothing was forgotten: {run.record.reason}", hint="this cell is left out")
    return run.clip


def _rounded(clip: LoadedCLIP) -> LoadedCLIP:
    clip.round_to_stored_()
    return clip
