"""What every method must keep, whatever it does; a method is in once it has a row here."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor

from efface.encoding import encode_classes, predict
from efface.methods import METHODS, method_preset
from efface.methods.base import ForgetMethod
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Silent, Trace

TARGET = 2
# Settings for the tiny world, and by how much the other classes may fall in it.
TINY: dict[str, tuple[ForgetMethod, float]] = {
    "lip": (Lip(images=32, batch_size=32, samples=4, learning_rate=3e-2, weight_decay=0.0, stop_accuracy=0.0), 0.25),
    "projection": (Projection(strength=2.0), 0.05),
}
cases = pytest.mark.parametrize("name", list(METHODS))
towers = pytest.mark.parametrize("batch_norm", [False, True])


def forget_data(method: ForgetMethod) -> ForgetData:
    needs = method.needs
    rng = torch.Generator().manual_seed(11)
    forget = tiny_images(needs.forget_images, rng=rng, classes=[TARGET]) if needs.forget_images else None
    return ForgetData(TARGET, tiny_class_tokens(), torch.tensor([[TARGET]]) if needs.prompt else None, forget)


def edit(model: TinyDualEncoder, reference: TinyDualEncoder, method: ForgetMethod, seed: int = 5) -> Trace:
    data = forget_data(method)
    return method.edit_(model, reference, data, rng=torch.Generator().manual_seed(seed), reporter=Silent())


def state(model: TinyDualEncoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def shares(model: TinyDualEncoder) -> tuple[float, float]:
    """Right answers on held-out images of the target and of the other classes."""
    data = tiny_images(50, rng=torch.Generator().manual_seed(99))
    right = predict(model, data.images, encode_classes(model, tiny_class_tokens())) == data.labels
    forget = data.labels == TARGET
    return right[forget].float().mean().item(), right[~forget].float().mean().item()


def test_every_method_has_a_row() -> None:
    assert set(TINY) == set(METHODS)


@cases
def test_it_is_a_forget_method_with_a_default_preset(name: str) -> None:
    method: ForgetMethod = method_preset(name, "default")
    assert type(method) is METHODS[name]
    assert method.summary


@cases
@towers
def test_it_halves_the_forget_class_and_holds_the_others(name: str, batch_norm: bool) -> None:
    method, bound = TINY[name]
    model, reference = (tiny_dual_encoder(batch_norm=batch_norm) for _ in range(2))
    forget_before, retain_before = shares(model)
    trace = edit(model, reference, method)
    forget_after, retain_after = shares(model)
    assert trace.reached, trace.reason
    assert forget_before > 0.9
    assert forget_after <= forget_before / 2
    assert retain_after >= retain_before - bound


@cases
@towers
def test_reference_buffers_and_data_are_left_bit_for_bit(name: str, batch_norm: bool) -> None:
    method, _ = TINY[name]
    model, reference = (tiny_dual_encoder(batch_norm=batch_norm) for _ in range(2))
    before, buffers = state(reference), {n: b.clone() for n, b in model.module.named_buffers()}
    edit(model, reference, method)
    assert all(torch.equal(tensor, before[n]) for n, tensor in reference.module.state_dict().items())
    assert all(torch.equal(buffer, buffers[n]) for n, buffer in model.module.named_buffers())
    assert not model.module.training
    assert all(p.grad is None for p in model.module.parameters())


@cases
def test_the_logit_scale_the_tables_and_batch_norm_stay(name: str) -> None:
    method, _ = TINY[name]
    model, reference = (tiny_dual_encoder(batch_norm=True) for _ in range(2))
    edit(model, reference, method)
    before, after = state(reference), state(model)
    assert torch.equal(before["logit_scale"], after["logit_scale"])
    assert torch.equal(before["text.table.weight"], after["text.table.weight"])
    assert all(torch.equal(before[n], after[n]) for n in before if ".norm." in n)
    assert any(not torch.equal(before[n], after[n]) for n in before)


@cases
def test_the_same_seed_gives_the_same_weights_whatever_the_global_state(name: str) -> None:
    method, _ = TINY[name]
    found = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model, reference = tiny_dual_encoder(), tiny_dual_encoder()
        edit(model, reference, method)
        found.append(state(model))
    assert all(torch.equal(found[0][n], found[1][n]) for n in found[0])


@cases
def test_settings_survive_a_round_trip_through_json(name: str) -> None:
    for method in (TINY[name][0], method_preset(name, "default")):
        text = json.dumps(dataclasses.asdict(method))  # type: ignore[call-overload]
        assert type(method)(**json.loads(text)) == method


@cases
def test_settings_cannot_be_changed_or_misspelt(name: str) -> None:
    method, _ = TINY[name]
    field = dataclasses.fields(method)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(method, field, 1)
    with pytest.raises(ValueError, match="no_such_setting"):
        METHODS[name](no_such_setting=1)
