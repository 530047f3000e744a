import copy
import re

import pytest
import torch
from torch import Tensor

from efface.encoding import encode_classes
from efface.functional.lipschitz import lipschitz_loss
from efface.methods import method_preset
from efface.methods.jit import PRESETS, PUBLISHED, Jit
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Silent, State, TensorImages, Trace

TARGET = 1


def images_of(n: int) -> TensorImages:
    return tiny_images(n, rng=torch.Generator().manual_seed(8), classes=[TARGET])


def run(method: Jit, images: int = 6, model: TinyDualEncoder | None = None) -> tuple[Trace, State]:
    model = model or tiny_dual_encoder()
    data = ForgetData((TARGET,), tiny_class_tokens(), forget=images_of(images))
    rng = torch.Generator().manual_seed(3)
    return method.edit_(model, model, data, rng=rng, reporter=Silent()), model.module.state_dict()


def answers(model: TinyDualEncoder, images: Tensor, kind: str) -> Tensor:
    """Unit features, or the scale times their cosines with the texts, which stay."""
    features, texts = model.encode_image(images), encode_classes(model, tiny_class_tokens())
    return features if kind == "features" else model.logit_scale.detach() * features @ texts.T


@pytest.mark.parametrize("kind", ["logits", "features"])
def test_a_pass_is_a_step_down_the_gradient_for_every_batch_in_the_image_tower_alone(kind: str) -> None:
    _, after = run(Jit(outputs=kind, noise=0.5, samples=2, learning_rate=1e-2, batch_size=3))  # type: ignore[arg-type]
    by_hand, rng, images = tiny_dual_encoder(), torch.Generator().manual_seed(3), images_of(6).images
    # The same draws: first the order of the images, then the noise of each copy.
    for rows in torch.split(torch.randperm(6, generator=rng), 3):
        x = images[rows]
        copies = [(x + 0.5 * torch.randn(x.shape, generator=rng)).clamp(x.min(), x.max()) for _ in range(2)]
        with torch.no_grad():
            noisy = torch.stack([answers(by_hand, copy_, kind) for copy_ in copies])
        distance = torch.stack([(copy_ - x).flatten(1).norm(dim=1) for copy_ in copies])
        loss = lipschitz_loss(answers(by_hand, x, kind), noisy, distance)
        weights = list(by_hand.module.image.parameters())
        with torch.no_grad():
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.sub_(1e-2 * gradient)
    expected = by_hand.module.state_dict()
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in expected.items())
    before = tiny_dual_encoder().module.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert moved == {name for name in before if name.startswith("image.")}


def test_the_answers_come_nearer_to_those_for_noisy_copies() -> None:
    def left(model: TinyDualEncoder) -> float:
        x, rng = images_of(64).images, torch.Generator().manual_seed(9)
        copies = (x + 0.8 * torch.randn(x.shape, generator=rng)).clamp(x.min(), x.max())
        clean, noisy = model.encode_image(x), model.encode_image(copies)
        return lipschitz_loss(clean, noisy[None], (copies - x).flatten(1).norm(dim=1)[None]).item()

    model = tiny_dual_encoder()
    run(Jit(outputs="features", noise=0.8, samples=8, learning_rate=0.1), 64, model)
    assert left(model) < left(tiny_dual_encoder())


def test_without_settings_noise_and_rate_are_the_published_ones_for_the_architecture() -> None:
    vit, resnet = (tiny_dual_encoder(steps=0, batch_norm=batch_norm) for batch_norm in (False, True))
    assert Jit().constants(vit) == PUBLISHED["transformer"] == (0.8, 1.5)
    assert Jit().constants(resnet) == PUBLISHED["convolutional"] == (0.5, 3e-4)
    assert Jit(noise=2.0).constants(vit) == (2.0, 1.5)
    assert Jit(learning_rate=7.0).constants(resnet) == (0.5, 7.0)
    assert (Jit().samples, Jit().batch_size) == (25, 128)
    assert method_preset("jit", "paper") == Jit()
    assert PRESETS["default"].constants(vit) == (0.5, 3e-4)


def test_it_has_one_pass_and_no_stop_rule() -> None:
    trace, _ = run(Jit(samples=1, learning_rate=1e-9))
    assert len(trace.steps) == 1
    assert trace.reached
    assert trace.reason.startswith("the accuracy on the class's images is 100.0%; this method has no stop rule")


def test_a_pass_that_ends_in_nan_is_taken_back() -> None:
    before = copy.deepcopy(tiny_dual_encoder().module.state_dict())
    trace, after = run(Jit(samples=1, learning_rate=1e38))
    assert not trace.reached
    assert "NaN" in trace.reason
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("settings", [{"noise": 0}, {"learning_rate": -1.0}, {"outputs": "texts"}, {"samples": 0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=re.escape(next(iter(settings)))):
        Jit(**settings)  # type: ignore[arg-type]


def test_without_images_it_says_what_it_needs() -> None:
    model = tiny_dual_encoder(steps=0)
    data = ForgetData((TARGET,), tiny_class_tokens())
    with pytest.raises(ValueError, match="JiT needs images of the class"):
        Jit().edit_(model, model, data, rng=torch.Generator(), reporter=Silent())
