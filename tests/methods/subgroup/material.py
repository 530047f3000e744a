"""A tiny CLIP, one kind of images within a class, and runs that are stopped."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from efface.encoding import encode_classes, predict
from efface.methods.base import ForgetMethod
from efface.testing import CLASSES, PIXELS, SIDE, TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import DualEncoder, ForgetData, LabelledImages, Silent, TensorImages, Trace
from tests.methods.test_reassign import From, Kept, Stopped

TARGET = 2


def kind(n: int, seed: int, classes: Sequence[int] = (TARGET,)) -> TensorImages:
    """Images of one kind within each class: its pattern with one quarter gray."""
    images = tiny_images(n, rng=torch.Generator().manual_seed(seed), classes=classes)
    pixels = PIXELS.denormalize(images.images)
    quarter = pixels[:, :, SIDE // 2 :, SIDE // 2 :]
    quarter.fill_(0.5)
    return TensorImages(PIXELS.normalize(pixels), images.labels)


def material(
    *, forget: LabelledImages | None = None, retain: bool = True, calibration: bool = True, pool: bool = False
) -> ForgetData:
    """What a stage is handed; images that are not for training have seeds of their own."""
    others = tiny_images(6, rng=torch.Generator().manual_seed(21))
    held = tiny_images(6, rng=torch.Generator().manual_seed(22))
    return ForgetData(
        (TARGET,),
        tiny_class_tokens(),
        forget=forget or kind(16, 23),
        retain=others if retain else None,
        calibration=held if calibration else None,
        calibration_forget=kind(12, 24) if calibration else None,
        pool=tiny_images(8, rng=torch.Generator().manual_seed(25)) if pool else None,
    )


def layer_normed() -> TinyDualEncoder:
    """The same with a LayerNorm where others have a BatchNorm, or nothing."""
    encoder = tiny_dual_encoder(batch_norm=True)
    encoder.module.image["norm"] = nn.LayerNorm(32)
    return encoder


def edit(
    method: ForgetMethod,
    model: DualEncoder,
    data: ForgetData,
    *,
    reference: DualEncoder | None = None,
    seed: int = 3,
    **more: Any,
) -> Trace:
    rng = more.pop("rng", torch.Generator().manual_seed(seed))
    reference = reference or tiny_dual_encoder(batch_norm=any(g.is_batch_norm for g in model.weights("image")))
    return method.edit_(model, reference, data, rng=rng, reporter=Silent(), **more)


def state(model: DualEncoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def changed(model: DualEncoder, base: DualEncoder) -> set[str]:
    """The names of the tensors in which two models differ, buffers included."""
    before = base.module.state_dict()
    return {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}


def shares(model: DualEncoder) -> tuple[float, float]:
    """Of images that nothing was trained on: those of the kind answered with the class, the others answered right."""
    classes = encode_classes(model, tiny_class_tokens())
    forget, others = kind(40, 91), tiny_images(20, rng=torch.Generator().manual_seed(92), classes=range(CLASSES))
    left = predict(model, forget.images, classes) == TARGET
    right = predict(model, others.images, classes) == others.labels
    return left.double().mean().item(), right.double().mean().item()


def gone_on(
    method: ForgetMethod, make: Callable[[], TinyDualEncoder], data: ForgetData, stop_at: int
) -> tuple[Trace, Any]:
    """A run that is stopped as it notes for the given time, and goes on with another model and other random numbers."""
    model, rng = make(), torch.Generator().manual_seed(3)
    kept = Kept(model, rng, stop_at)
    with pytest.raises(Stopped):
        edit(method, model, data, rng=rng, checkpoint=kept)
    again, rng = make(), torch.Generator().manual_seed(77)
    again.module.load_state_dict(kept.noted["weights"])
    rng.set_state(kept.noted["rng"])
    return edit(method, again, data, rng=rng, checkpoint=From(kept.noted["part"])), again
