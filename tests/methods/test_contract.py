"""What every method must keep, whatever it does; a method is in once it has a row here."""

import dataclasses
import json
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from efface.methods import METHODS, MethodClass, ga, method_preset
from efface.methods.base import ForgetMethod
from efface.methods.ga import Ga
from efface.methods.jit import Jit
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.methods.reassign import Reassign
from efface.methods.subgroup import Forget, Remind, Restore, Subgroup
from efface.types import DualEncoder, Silent, Trace
from tests.methods.contract_models import ContractModel, builtin, tiny

MODELS: dict[str, ContractModel] = {
    "tiny": tiny(batch_norm=False),
    "tiny with BatchNorm": tiny(batch_norm=True),
    "symbols-vit": builtin("vit"),
    "symbols-rn": builtin("rn"),
}
QUICK = Reassign(
    images=32,
    guard_images=30,
    leaves=32,
    copies=1,
    steps=60,
    batch_size=16,
    guard_batch_size=32,
    learning_rate=1e-2,
    text_steps=40,
)
PARTED = Subgroup(
    stages=("forget", "remind", "restore"),
    forget=Forget(images=32, leaves=16, copies=1, forget_copies=2, steps=80, batch_size=16, learning_rate=1e-2),
    remind=Remind(align_steps=0, steps=20),
    restore=Restore(evaluations=4),
)
# Settings for the tiny models and for the real ones, and by how much the other classes may fall there.
TINY: dict[str, tuple[ForgetMethod, float]] = {
    "lip": (QUICK, 0.05),
    "lip, lipschitz": (
        Lip(images=32, batch_size=32, samples=4, learning_rate=3e-2, weight_decay=0.0, stop_accuracy=0.0),
        0.25,
    ),
    "subgroup": (PARTED, 0.05),
    "projection": (Projection(strength=2.0), 0.05),
    "ga": (replace(ga.PRESETS["default"], images=32), 0.05),
    "jit": (Jit(samples=4, noise=0.8, learning_rate=0.1), 0.5),
}
PLAIN = Lip(images=64, batch_size=32, samples=8, learning_rate_growth=10**0.5, weight_decay=0.0)
PROJECTION = Projection(ridge=0.3, strength=1.5)
HANDED = Reassign(images=96, guard_images=200, leaves=400, copies=1, steps=150)
# The published loss of lip, ga and jit cost a model up to half of what it knew: nothing there holds the other classes.
REAL: dict[str, dict[str, tuple[ForgetMethod, float]]] = {
    "symbols-vit": {
        "lip": (HANDED, 0.1),
        "lip, lipschitz": (replace(PLAIN, learning_rate=1e-4), 0.55),
        "subgroup": (Subgroup(), 0.05),
        "projection": (PROJECTION, 0.05),
        "ga": (ga.PRESETS["default"], 0.6),
        "jit": (Jit(samples=8, noise=0.8, learning_rate=1.5, outputs="features"), 0.3),
    },
    "symbols-rn": {
        "lip": (HANDED, 0.1),
        "lip, lipschitz": (replace(PLAIN, learning_rate=3e-3), 0.15),
        "subgroup": (Subgroup(), 0.05),
        "projection": (PROJECTION, 0.1),
        "ga": (ga.PRESETS["default"], 0.3),
        "jit": (Jit(samples=8, noise=0.8, learning_rate=0.3, outputs="features"), 0.65),
    },
}
# A method, or one of its presets that works in another way.
cases = pytest.mark.parametrize("name", list(TINY))
# LIP on a real model takes longer than all else together, and the others that train take seconds.
WORDS = 2
"""Of the class in all prompts."""
pairs = pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.slow] if name != "projection" and kind in REAL else [])
        for name in TINY
        for kind in MODELS
    ],
)


def preset(name: str) -> ForgetMethod:
    """The settings that a row's method has by name."""
    method, _, chosen = name.partition(", ")
    return method_preset(method, chosen or "default")


def setting(name: str, kind: str) -> tuple[ForgetMethod, float]:
    return REAL.get(kind, TINY)[name]


@dataclass(frozen=True, slots=True)
class Edited:
    """A model after a method, the reference that the method was handed, and what it said."""

    model: DualEncoder
    reference: DualEncoder
    trace: Trace


def edit(name: str, kind: str, *, is_short: bool = False) -> Edited:
    model, reference, method = MODELS[kind].make(), MODELS[kind].make(), setting(name, kind)[0]
    if is_short and isinstance(method, Lip):
        method = replace(method, images=16, batch_size=8, samples=2, max_rounds=2)
    if is_short and isinstance(method, Reassign):
        method = replace(method, images=16, guard_images=16, leaves=16, steps=10)
    if is_short and isinstance(method, Subgroup):
        method = replace(method, forget=replace(method.forget, images=16, retain_images=16, leaves=16, steps=10))
    if is_short and isinstance(method, Ga):
        method = replace(method, images=16, batch_size=8, max_rounds=2)
    data, rng = MODELS[kind].data(method), torch.Generator().manual_seed(5)
    return Edited(model, reference, method.edit_(model, reference, data, rng=rng, reporter=Silent()))


@cache
def edited(name: str, kind: str, *, is_short: bool = False) -> Edited:
    """One edit that all tests look at, which change nothing in it."""
    return edit(name, kind, is_short=is_short)


def is_table(name: str) -> bool:
    """Whether a weight is the table of tokens."""
    return "token_embedding" in name or "table" in name


def state(model: DualEncoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def test_every_method_has_a_row() -> None:
    assert {name.split(",")[0] for name in TINY} == set(METHODS)
    assert all(set(rows) == set(TINY) for rows in REAL.values())


@cases
def test_it_is_a_forget_method_with_a_default_preset(name: str) -> None:
    method: ForgetMethod = preset(name)
    assert isinstance(method, ForgetMethod)
    assert type(method) is type(TINY[name][0])
    assert method.summary


@pairs
def test_it_halves_the_forget_class_and_holds_the_others(name: str, kind: str) -> None:
    _, bound = setting(name, kind)
    forget_before, retain_before = MODELS[kind].shares(MODELS[kind].make())
    found = edited(name, kind)
    forget_after, retain_after = MODELS[kind].shares(found.model)
    assert found.trace.reached, found.trace.reason
    assert forget_before > 0.9
    assert forget_after <= forget_before / 2
    assert retain_after >= retain_before - bound


@pairs
def test_reference_buffers_and_data_are_left_bit_for_bit(name: str, kind: str) -> None:
    found, untouched = edited(name, kind), MODELS[kind].make()
    before, buffers = state(untouched), dict(untouched.module.named_buffers())
    model = found.model
    assert all(torch.equal(tensor, before[n]) for n, tensor in found.reference.module.state_dict().items())
    assert all(torch.equal(buffer, buffers[n]) for n, buffer in model.module.named_buffers())
    assert not model.module.training
    assert all(p.grad is None for p in model.module.parameters())


@pairs
def test_the_logit_scale_the_tables_and_batch_norm_stay(name: str, kind: str) -> None:
    model = edited(name, kind).model
    before, after = state(MODELS[kind].make()), state(model)
    assert torch.equal(before["logit_scale"], after["logit_scale"])
    fixed = [g for tower in ("image", "text") for g in model.weights(tower) if g.is_batch_norm or is_table(g.name)]
    assert fixed
    names = {id(p): n for n, p in model.module.named_parameters()}
    for group in fixed:
        for parameter in group.parameters:
            moved = (parameter != before[names[id(parameter)]]).reshape(len(parameter), -1).any(dim=1)
            # The default of lip teaches the vectors of words of the class's name, one a text at most.
            assert moved.sum() <= (WORDS if name == "lip" and is_table(group.name) else 0), group.name
    assert any(not torch.equal(before[n], after[n]) for n in before)


@pairs
def test_the_same_seed_gives_the_same_weights_whatever_the_global_state(name: str, kind: str) -> None:
    # On a real model a few steps, which draw all that the many do.
    first = state(edited(name, kind, is_short=kind in REAL).model)
    torch.manual_seed(2)
    second = state(edit(name, kind, is_short=kind in REAL).model)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(tensor, first[n]) for n, tensor in state(MODELS[kind].make()).items())


@cases
def test_settings_survive_a_round_trip_through_json(name: str) -> None:
    for method in (TINY[name][0], preset(name)):
        text = json.dumps(dataclasses.asdict(method))  # type: ignore[call-overload]
        assert type(method)(**json.loads(text)) == method


@cases
def test_settings_cannot_be_changed_or_misspelt(name: str) -> None:
    method, _ = TINY[name]
    kind: MethodClass = type(method)
    field = dataclasses.fields(method)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(method, field, 1)
    with pytest.raises(ValueError, match="no_such_setting"):
        kind(no_such_setting=1)
