"""The CLIPs on which every method must keep the contract: the tiny one, and the two that come with efface."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP
from efface.data.prompts import texts
from efface.data.symbols import open_symbols
from efface.encoding import encode_classes, predict
from efface.methods.base import ForgetMethod
from efface.symbols.catalogue import MEMBERS
from efface.testing import CLASSES, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import DualEncoder, ForgetData, TensorImages

TINY_TARGET, KNIGHT = 2, MEMBERS.index("knight")
TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True, slots=True)
class ContractModel:
    """A CLIP and what a method is handed to forget one of its classes.

    Attributes:
        make: the same model anew at each call.
        data: what a method asked for.
        shares: right answers on held-out images of the target and of the other classes.
    """

    make: Callable[[], DualEncoder]
    data: Callable[[ForgetMethod], ForgetData]
    shares: Callable[[DualEncoder], tuple[float, float]]


def tiny(*, batch_norm: bool) -> ContractModel:
    """The model of :mod:`efface.testing`."""
    return ContractModel(lambda: tiny_dual_encoder(batch_norm=batch_norm), _tiny_data, _tiny_shares)


def builtin(tower: str) -> ContractModel:
    """A CLIP that comes with efface; it is given images of the knight that it was not trained on."""

    def data(method: ForgetMethod) -> ForgetData:
        clip, needs = _loaded(tower), method.needs
        prompt = None if needs.prompt is None else clip.tokenize(texts((needs.prompt,), "knight"))
        forget = None
        if needs.forget_images:
            forget = _some("knight", tower, 0, needs.forget_images)
        guard = _some("others", tower, 0, needs.guard_images)
        return ForgetData(
            (KNIGHT,),
            _class_tokens(tower),
            prompt,
            forget,
            guard,
            retain=_some("others", tower, 0, needs.retain_images),
            calibration=_some("others", tower, needs.retain_images, needs.calibration_images),
            calibration_forget=_some("knight", tower, needs.forget_images, needs.calibration_images),
        )

    def shares(model: DualEncoder) -> tuple[float, float]:
        held_out = _images("validation", None, tower)
        # All images of the knight, and of the other members, which take turns, five each.
        kept = (held_out.labels == KNIGHT) | (torch.arange(len(held_out)) // len(MEMBERS) % 4 == 0)
        return _right(model, held_out.images[kept], held_out.labels[kept], _class_tokens(tower), KNIGHT)

    return ContractModel(lambda: _loaded(tower).copy().encoder, data, shares)


def _tiny_data(method: ForgetMethod) -> ForgetData:
    needs = method.needs
    rng = torch.Generator().manual_seed(11)
    forget = tiny_images(needs.forget_images, rng=rng, classes=[TINY_TARGET]) if needs.forget_images else None
    others = [c for c in range(CLASSES) if c != TINY_TARGET]
    guard = tiny_images(-(-needs.guard_images // len(others)), rng=rng, classes=others) if needs.guard_images else None
    prompt = torch.tensor([[TINY_TARGET]]) if needs.prompt else None
    data = ForgetData((TINY_TARGET,), tiny_class_tokens(), prompt, forget, guard)
    if not needs.retain_images:
        return data
    return replace(
        data,
        retain=tiny_images(6, rng=rng, classes=others),
        calibration=tiny_images(6, rng=rng, classes=others),
        calibration_forget=tiny_images(12, rng=rng, classes=[TINY_TARGET]),
    )


def _tiny_shares(model: DualEncoder) -> tuple[float, float]:
    data = tiny_images(50, rng=torch.Generator().manual_seed(99))
    return _right(model, data.images, data.labels, tiny_class_tokens(), TINY_TARGET)


def _right(model: DualEncoder, images: Tensor, labels: Tensor, tokens: Tensor, target: int) -> tuple[float, float]:
    right = predict(model, images, encode_classes(model, tokens)) == labels
    forget = labels == target
    return right[forget].float().mean().item(), right[~forget].float().mean().item()


def _some(kind: str, tower: str, first: int, count: int) -> TensorImages | None:
    """So many images of the knight, or of all others; None for none."""
    if not count:
        return None
    everything = _images("forget", "knight" if kind == "knight" else None, tower)
    rows = torch.nonzero((everything.labels == KNIGHT) == (kind == "knight")).flatten()[first : first + count]
    return TensorImages(everything.images[rows], everything.labels[rows])


@cache
def _loaded(tower: str) -> LoadedCLIP:
    return efface.load(f"builtin:symbols-{tower}")


@cache
def _class_tokens(tower: str) -> Tensor:
    return _loaded(tower).class_tokens([texts(TEMPLATES, name) for name in MEMBERS])


@cache
def _images(split: str, member: str | None, tower: str) -> TensorImages:
    where = {} if member is None else {"member": member}
    data = open_symbols(f"symbols:{split}", preprocess=_loaded(tower).preprocess, where=where)
    ((images, labels),) = data.images.batches(len(data.images))
    return TensorImages(images, labels)
