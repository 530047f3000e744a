"""Normalisations and their statistics, and images that come nearer to them within their bounds."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from efface import load
from efface.functional.statistics import Statistics, statistics_distance
from efface.methods.subgroup import alignment
from efface.methods.subgroup.alignment import (
    Bounds,
    Norm,
    aligned,
    norms,
    statistics_of,
    stored_statistics,
    wanted_statistics,
)
from efface.testing import tiny_dual_encoder, tiny_images
from efface.types import DualEncoder
from tests.methods.subgroup.material import layer_normed, state
from tests.tiny_open_clip import RESNET, WORDED, write_open_clip

BOUND = 8 / 255


def batch(seed: int = 0) -> Tensor:
    return tiny_images(3, rng=torch.Generator().manual_seed(seed)).images


def test_the_normalisations_that_run_are_found_and_batch_norms_come_first(tmp_path: Path) -> None:
    assert norms(tiny_dual_encoder()) == []
    batch_normed, with_layers = tiny_dual_encoder(batch_norm=True), layer_normed()
    assert norms(batch_normed) == [batch_normed.module.image["norm"]]
    assert norms(with_layers) == [with_layers.module.image["norm"]]
    resnet = {**RESNET, "text_cfg": WORDED["text_cfg"]}
    found = norms(load(f"local-dir:{write_open_clip(tmp_path / 'resnet', resnet)}").encoder)
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in found)
    # The text tower has LayerNorms; none of them is the image tower's.
    vit = load(f"local-dir:{write_open_clip(tmp_path / 'vit', WORDED)}").encoder
    assert len(norms(vit)) == 2 * 2 + 2
    assert all(isinstance(norm, nn.LayerNorm) for norm in norms(vit))


def test_what_enters_a_norm_is_what_the_layer_before_puts_out() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    (found,) = statistics_of(model, norms(model), batch())
    entered = model.module.image["stem"](batch().flatten(1))
    torch.testing.assert_close(found.mean, entered.mean(dim=0))
    torch.testing.assert_close(found.deviation, (entered.var(dim=0, correction=0) + 1e-5).sqrt())


def test_a_batch_norm_keeps_its_own_statistics_and_looks_at_no_pool() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    norm = model.module.image["norm"]
    assert isinstance(norm, nn.BatchNorm1d)
    never = (pytest.fail("looked at") for _ in range(1))
    (wanted,) = wanted_statistics(model, norms(model), never)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(wanted.mean, norm.running_mean)
    torch.testing.assert_close(wanted.deviation.square() - 1e-5, norm.running_var)


def test_a_layer_norm_has_those_of_a_pool_however_it_is_split() -> None:
    model, pool = layer_normed(), batch()
    (whole,) = wanted_statistics(model, norms(model), iter([pool]))
    (split,) = wanted_statistics(model, norms(model), iter(torch.split(pool, 7)))
    torch.testing.assert_close(split.mean, whole.mean)
    torch.testing.assert_close(split.deviation, whole.deviation)
    with pytest.raises(ValueError, match="a LayerNorm keeps no statistics"):
        stored_statistics(norms(model)[0])


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_images_come_nearer_and_stay_within_their_bounds(kind: str) -> None:
    model = tiny_dual_encoder(batch_norm=True) if kind == "batch" else layer_normed()
    # Not those of pre-training: half as bright.
    pixels = 0.5 * model.pixels.denormalize(batch())
    images, before = model.pixels.normalize(pixels), state(model)
    wanted = wanted_statistics(model, norms(model), iter([batch(1)]))
    told: list[int] = []
    found = aligned(model, norms(model), wanted, images, Bounds(BOUND, 15, BOUND / 4), told.append)
    assert len(told) == 15
    assert found.after < found.before
    again = statistics_distance(statistics_of(model, norms(model), found.images), wanted)
    assert found.after == pytest.approx(again.item(), rel=1e-4)
    moved = model.pixels.denormalize(found.images)
    assert (moved - pixels).abs().max() <= BOUND + 1e-6
    assert moved.min() >= -1e-6
    assert moved.max() <= 1 + 1e-6
    # BatchNorm's own statistics, and all else, are as they were.
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert all(p.grad is None for p in model.module.parameters())


@pytest.mark.parametrize("kind", ["batch", "layer"])
@pytest.mark.parametrize("at_once", [1, 7, 18])
def test_a_batch_in_parts_has_the_distance_and_the_slope_of_the_whole(
    kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_dual_encoder(batch_norm=True) if kind == "batch" else layer_normed()
    wanted = wanted_statistics(model, norms(model), iter([batch(1)]))
    pixels = (0.5 * model.pixels.denormalize(batch())).requires_grad_(True)
    whole = statistics_distance(statistics_of(model, norms(model), model.pixels.normalize(pixels)), wanted)
    (expected,) = torch.autograd.grad(whole, pixels)
    monkeypatch.setattr(alignment, "AT_ONCE", at_once * 8 * 8)
    distance, slope = alignment._distance(model, norms(model), wanted, pixels.detach(), with_slope=True)
    assert slope is not None
    assert distance == pytest.approx(whole.item(), rel=1e-5)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-7)
    alone, none = alignment._distance(model, norms(model), wanted, pixels.detach(), with_slope=False)
    assert alone == pytest.approx(distance, rel=1e-5)
    assert none is None


def test_no_more_images_than_asked_for_go_through_at_once_and_no_weight_wants_a_slope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, sizes = tiny_dual_encoder(batch_norm=True), []

    def noted(of: DualEncoder, chosen: Sequence[Norm], images: Tensor) -> list[Statistics]:
        sizes.append((len(images), images.requires_grad))
        assert not any(p.requires_grad for p in of.module.parameters())
        return statistics_of(of, chosen, images)

    wanted = wanted_statistics(model, norms(model), iter(()))
    monkeypatch.setattr(alignment, "AT_ONCE", 7 * 8 * 8 + 1)
    monkeypatch.setattr(alignment, "statistics_of", noted)
    aligned(model, norms(model), wanted, batch(), Bounds(BOUND, 1, BOUND / 4))
    # All parts without a slope, then with it; after the last step without it alone.
    assert sizes == [
        (7, False),
        (7, False),
        (4, False),
        (7, True),
        (7, True),
        (4, True),
        (7, False),
        (7, False),
        (4, False),
    ]
    assert all(p.requires_grad for p in model.module.parameters())


def test_of_all_that_it_came_by_the_nearest_is_kept() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    wanted = statistics_of(model, norms(model), batch())
    # There already: any step leads away, and a large one far.
    found = aligned(model, norms(model), wanted, batch(), Bounds(0.5, 3, 0.5))
    assert found.after == found.before == pytest.approx(0, abs=1e-3)
    torch.testing.assert_close(found.images, batch())


def test_no_step_and_no_bound_leave_the_images() -> None:
    model = tiny_dual_encoder(batch_norm=True)
    wanted = wanted_statistics(model, norms(model), iter(()))
    for how in (Bounds(BOUND, 0, 0.1), Bounds(0.0, 5, 0.1)):
        found = aligned(model, norms(model), wanted, batch(), how)
        torch.testing.assert_close(found.images, batch())
        assert found.after == pytest.approx(found.before, rel=1e-4)
