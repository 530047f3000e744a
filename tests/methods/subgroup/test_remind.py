"""The second stage: what each term of it brings back, its averages, and where it has nothing to do."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from efface.errors import EffaceWarning
from efface.functional.handover import distance_loss
from efface.methods.base import ForgetMethod
from efface.methods.subgroup import Forget, Remind, remind
from efface.methods.subgroup.alignment import Aligned
from efface.testing import TinyDualEncoder, tiny_dual_encoder
from efface.types import DualEncoder, Needs, TensorImages
from tests.methods.subgroup.material import changed, edit, gone_on, layer_normed, material, shares, state

SMALL = Remind(align_steps=5, align_batch=16, steps=40, every=20, batch_size=24, learning_rate=1e-2, decay=0.9)
NONE = dataclasses.replace(SMALL, contrastive=0.0, features=0.0, rows=0.0, forgotten=0.0)
# Forgetting that nothing holds: others of the class, and of more classes, go with the kind.
ROUGH = Forget(
    images=16,
    leaves=0,
    hold=0.0,
    copies=0,
    blocks=0,
    steps=20,
    every=20,
    batch_size=16,
    learning_rate=1e-2,
    strength=1.2,
)


def damaged(*, batch_norm: bool = True) -> TinyDualEncoder:
    model = tiny_dual_encoder(batch_norm=batch_norm)
    edit(ROUGH, model, material())
    return model


def distance(model: DualEncoder) -> float:
    """How far images to stay are from what the reference makes of them."""
    images = material().calibration
    assert images is not None
    ((batch, _),) = images.batches(99)
    with torch.no_grad():
        reference = tiny_dual_encoder(batch_norm=True).encode_image(batch)
        return distance_loss(model.encode_image(batch), reference).item()


@pytest.mark.parametrize("rank", [0, 4])
def test_what_was_lost_comes_back_and_what_was_forgotten_does_not(rank: int) -> None:
    model = damaged()
    before = shares(model)
    trace = edit(dataclasses.replace(SMALL, rank=rank), model, material())
    after = shares(model)
    assert before[0] <= 0.05
    assert before[1] < 0.8
    assert after[0] <= 0.1
    assert after[1] > before[1] + 0.1
    assert trace.steps[-1]["accuracy"] == 0.0
    assert trace.reached


@pytest.mark.parametrize("term", ["contrastive", "features", "rows"])
def test_each_term_alone_brings_something_back(term: str) -> None:
    model, before = damaged(), shares(damaged())
    edit(dataclasses.replace(NONE, **{term: 1.0}), model, material())  # type: ignore[arg-type]
    assert shares(model)[1] > before[1] + 0.1
    assert distance(model) < distance(damaged())


def test_only_the_layers_that_moved_move_again_and_batch_norms_statistics_never() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    edit(dataclasses.replace(ROUGH, blocks=1), model, material())
    forgot = tiny_dual_encoder(batch_norm=True)
    edit(dataclasses.replace(ROUGH, blocks=1), forgot, material())
    edit(SMALL, model, material())
    assert changed(model, forgot) == {"image.pool.weight", "image.pool.bias", "image.projection.weight"}
    assert not model.module.training
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_features_are_taught_by_the_reference_itself_whatever_moved_before_the_cut() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    with torch.no_grad():
        model.module.get_parameter("image.norm.weight").mul_(0.7)
        model.module.get_parameter("image.pool.weight").mul_(0.9)
    before = distance(model)
    edit(dataclasses.replace(NONE, features=1.0, align_steps=0), model, material())
    # Norms stay as that edit left them, and the layer after them makes up for it.
    assert distance(model) < before / 2
    reference = tiny_dual_encoder(batch_norm=True)
    assert changed(model, reference) == {"image.norm.weight", "image.pool.weight", "image.pool.bias"}


def test_images_are_aligned_to_batch_norm_and_how_near_is_noted() -> None:
    trace = edit(SMALL, damaged(), material())
    assert trace.steps[0]["distance_aligned"] < trace.steps[0]["distance_before"]  # type: ignore[operator]
    as_they_are = edit(dataclasses.replace(SMALL, align_steps=0), damaged(), material())
    assert "distance_before" not in as_they_are.steps[0]


def test_images_that_are_aligned_together_are_of_any_class_and_keep_their_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[Tensor] = []
    taught: list[tuple[Tensor, Tensor]] = []

    def noted(model: DualEncoder, chosen: object, wanted: object, images: Tensor, *more: object) -> Aligned:
        del model, chosen, wanted, more
        parts.append(images)
        return Aligned(images, 1.0, 1.0)

    def kept(*args: Any) -> Any:
        taught.append(args[-1])
        return run(*args)

    run = remind._run
    monkeypatch.setattr(remind, "aligned", noted)
    monkeypatch.setattr(remind, "_run", kept)
    edit(dataclasses.replace(SMALL, steps=1), damaged(), material())
    stay = material().retain
    assert isinstance(stay, TensorImages)
    ((images, labels),) = taught
    assert torch.equal(images, torch.cat(parts))
    rows = torch.cdist(images.flatten(1), stay.images.flatten(1)).argmin(dim=1)
    assert sorted(rows.tolist()) == list(range(36))
    assert torch.equal(labels, stay.labels[rows])
    # As they are stored there are two classes in each of three parts.
    assert all(len(set(labels[first : first + 12].tolist())) > 2 for first in (0, 12, 24))


def test_shapes_are_painted_only_where_there_is_nothing_else_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args: object, **_more: object) -> Tensor:
        pytest.fail("painted")

    monkeypatch.setattr(remind, "dead_leaves", never)
    edit(dataclasses.replace(SMALL, steps=1), damaged(), material(calibration=False))
    model = layer_normed()
    edit(ROUGH, model, material(), reference=layer_normed())
    edit(dataclasses.replace(SMALL, steps=1), model, material(), reference=layer_normed())


def test_without_batch_norm_a_pool_stands_for_pre_training_or_calibration_or_shapes() -> None:
    distances = []
    for data in (material(pool=True), material(), material(calibration=False)):
        model, reference = layer_normed(), layer_normed()
        edit(ROUGH, model, data, reference=reference)
        trace = edit(SMALL, model, data, reference=reference)
        distances.append(trace.steps[0]["distance_before"])
        assert trace.steps[0]["distance_aligned"] < trace.steps[0]["distance_before"]  # type: ignore[operator]
    assert len(set(distances)) == 3


def test_a_tower_with_neither_norm_is_reminded_without_alignment_and_says_so() -> None:
    model = damaged(batch_norm=False)
    before = shares(model)
    with pytest.warns(EffaceWarning, match="neither BatchNorm nor LayerNorm"):
        trace = edit(SMALL, model, material())
    assert shares(model)[1] > before[1]
    assert "distance_before" not in trace.steps[0]


def test_without_images_to_stay_nothing_is_done_and_it_is_said() -> None:
    model = damaged()
    with pytest.warns(EffaceWarning, match="reminding was left out: there are no images of what is to stay"):
        trace = edit(SMALL, model, material(retain=False))
    assert trace.reached
    assert "left out" in trace.reason
    assert not changed(model, damaged())


def test_where_no_weight_moved_there_is_nothing_to_remind_of() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    with pytest.warns(EffaceWarning, match="no layer of the image tower moved"):
        edit(SMALL, model, material())
    assert not changed(model, tiny_dual_encoder(batch_norm=True))


def test_a_synthetic_guard_is_reminded_of_too() -> None:
    model, guard = damaged(), material().retain
    trace = edit(SMALL, model, dataclasses.replace(material(retain=False), guard=guard))
    assert trace.steps[-1]["retain_agreement"] > 0.8  # type: ignore[operator]


def test_the_averages_end_elsewhere_and_an_average_that_forgets_all_is_the_last_weights() -> None:
    ends = []
    for more in ({"average": "ema"}, {"average": "beta"}, {"average": "none"}, {"average": "ema", "decay": 0.0}):
        model = damaged()
        edit(dataclasses.replace(SMALL, **more), model, material())
        ends.append(model)
    assert changed(ends[0], ends[1])
    assert changed(ends[1], ends[2])
    assert not changed(ends[2], ends[3])


@pytest.mark.parametrize("rank", [0, 2])
def test_it_goes_on_to_the_same_bits_and_the_same_words(rank: int) -> None:
    method = dataclasses.replace(SMALL, rank=rank)
    model = damaged()
    whole = edit(method, model, material())
    trace, again = gone_on(method, damaged, material(), 1)
    assert trace == whole
    assert all(torch.equal(tensor, state(again)[name]) for name, tensor in state(model).items())


def test_what_it_needs_is_in_its_settings() -> None:
    assert isinstance(SMALL, ForgetMethod)
    assert SMALL.needs == Needs(forget_images=64, retain_images=200)
    assert NONE.needs == Needs(retain_images=200)
    with pytest.raises(ValueError, match="beta"):
        Remind(beta=11)
