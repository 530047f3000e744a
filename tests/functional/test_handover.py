import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.handover import distance_loss, reassigned, standing_out, sure_lead

seeds = st.integers(0, 2**31)
margins = st.floats(0, 1)
ONE = torch.tensor(1.0)
PLANE = torch.eye(2, dtype=torch.float64)
SPACE = torch.eye(3, dtype=torch.float64)


def units(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1)


def most(classes: Tensor, target: int, second: Tensor, margin: float) -> Tensor:
    """What each second choice is to lead a target by: the margin, or twice the distance of the texts."""
    apart: Tensor = (classes[target] - classes[second]).norm(dim=1)
    return (2 * apart).clamp_max(margin)


# reassigned


def test_in_the_plane_a_lead_is_handed_over_as_computed_by_hand() -> None:
    features = torch.tensor([[0.8, 0.6]], dtype=torch.float64)
    # The first leads by 0.2, and the texts are the square root of 2 apart: half of that is taken and half is given.
    level = reassigned(features, PLANE, (0,), 0.0)
    torch.testing.assert_close(level, torch.tensor([[0.7, 0.7]], dtype=torch.float64) / math.sqrt(0.98))
    # And 0.2 more from one to the other, so that 0.5 stands against 0.9.
    behind = reassigned(features, PLANE, (0,), 0.4)
    torch.testing.assert_close(behind, torch.tensor([[0.5, 0.9]], dtype=torch.float64) / math.sqrt(1.06))


def test_what_lies_across_both_texts_keeps_its_length_before_the_scaling() -> None:
    features = torch.tensor([[0.48, 0.64, 0.6]], dtype=torch.float64)
    moved = reassigned(features, SPACE, (1,), 0.0)
    # 0.64 is first and 0.6 second: 0.62 each, and 0.48 as it was.
    torch.testing.assert_close(moved, F.normalize(torch.tensor([[0.48, 0.62, 0.62]], dtype=torch.float64), dim=-1))


def test_each_image_goes_to_its_own_second_choice_and_none_to_another_target() -> None:
    features = torch.tensor([[0.8, 0.6, 0.0], [0.8, 0.0, 0.6]], dtype=torch.float64)
    assert reassigned(features, SPACE, (0,), 0.1).argmax(dim=1).tolist() == [1, 2]
    # Of the first image the second choice is a target too: all that is left has it.
    assert reassigned(features, SPACE, (0, 1), 0.1).argmax(dim=1).tolist() == [2, 2]


@given(seeds, st.integers(1, 3), margins)
def test_afterwards_no_target_leads_and_the_second_is_ahead_by_the_margin(
    seed: int, targets: int, margin: float
) -> None:
    features, classes = units(20, 8, seed=seed), units(6, 8, seed=seed + 1)
    cosines = features @ classes.T
    moved = reassigned(features, classes, tuple(range(targets)), margin)
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(20, dtype=torch.float64))
    second = cosines[:, targets:].argmax(dim=1)
    after = moved @ classes.T
    ahead = after[:, targets:].gather(1, second[:, None])[:, 0] - after[:, :targets].max(dim=1).values
    assert ahead.min() >= -1e-6
    if targets == 1:
        # It is ahead by the margin before the scaling to unit length.
        wanted = most(classes, 0, 1 + second, margin)
        lead = (cosines[:, 0] - cosines[:, 1:].max(dim=1).values + wanted).clamp_min(0)
        apart = classes[0] - classes[1:][second]
        length = (features - (lead / apart.square().sum(dim=1))[:, None] * apart).norm(dim=1)
        torch.testing.assert_close((ahead * length)[lead > 0], wanted[lead > 0])


@given(seeds, st.integers(1, 3), margins)
def test_features_in_which_no_target_comes_near_stay_bit_for_bit(seed: int, targets: int, margin: float) -> None:
    features, classes = units(20, 8, seed=seed).float(), units(6, 8, seed=seed + 1).float()
    moved = reassigned(features, classes, tuple(range(targets)), margin)
    cosines = features @ classes.T
    best = cosines[:, targets:].max(dim=1)
    wanted = torch.stack([most(classes, target, targets + best.indices, margin) for target in range(targets)], dim=1)
    ahead = (best.values[:, None] - cosines[:, :targets] - wanted).min(dim=1).values
    assert torch.equal(moved[ahead >= 1e-6], features[ahead >= 1e-6])
    assert not (moved == features).all(dim=1)[ahead < -1e-6].any()


@given(seeds, st.floats(1e-4, 1), st.floats(0, 10))
def test_however_near_two_texts_are_the_difference_of_both_never_takes_the_images_place(
    seed: int, distance: float, margin: float
) -> None:
    features, (first, other) = units(20, 8, seed=seed), units(2, 8, seed=seed + 1)
    classes = torch.stack([first, F.normalize(first + distance * other, dim=0)])
    moved = reassigned(features, classes, (0,), margin)
    along = F.normalize(classes[1] - classes[0], dim=0)
    ahead, before = moved @ along, features @ along
    # What lies across stays, so that it tells how far the rest is from it before the scaling to unit length.
    scale = (features - before[:, None] * along).norm(dim=1) / (moved - ahead[:, None] * along).norm(dim=1)
    assert (ahead * scale <= before.clamp_min(2) + 1e-6).all()
    assert (ahead * scale - before).max() <= 3 + 1e-6
    assert ahead.min() >= -1e-6


@given(seeds)
def test_nothing_nearer_to_the_features_has_the_second_ahead(seed: int) -> None:
    features, classes = units(1, 4, seed=seed), units(2, 4, seed=seed + 1)
    features = features if features @ classes[0] > features @ classes[1] else -features
    moved = reassigned(features, classes, (0,), 0.0)
    # On the unit sphere the nearest of all that lead by nothing is at the angle of the features with that plane.
    apart = F.normalize(classes[0] - classes[1], dim=0)
    sine = (features @ apart).item()
    assert (moved @ features.T).item() == pytest.approx(math.sqrt(1 - sine**2))


def test_a_target_whose_text_is_another_classs_too_cannot_be_put_behind_it_and_nothing_moves() -> None:
    features, twins = units(5, 3, seed=1), SPACE[[0, 0]]
    assert torch.equal(reassigned(features, twins, (0,), 0.0), features)


# sure_lead


def test_a_lead_counts_as_much_as_the_model_is_sure() -> None:
    # Cosines 0.8 and 0.6, scale ln(3) / 0.2: three to one, and a lead of 0.2.
    features = torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    scale = torch.tensor(math.log(3) / 0.2)
    assert sure_lead(features[:1], PLANE.float(), (0,), scale).item() == pytest.approx(0.75 * 0.2)
    # The other image is taken for the other class: the mean of that and nothing.
    assert sure_lead(features, PLANE.float(), (0,), scale).item() == pytest.approx(0.75 * 0.2 / 2)


@given(seeds, st.integers(1, 3), st.floats(0.1, 100))
def test_it_lies_between_nothing_and_the_mean_lead(seed: int, targets: int, scale: float) -> None:
    features, classes = units(9, 4, seed=seed).float(), units(5, 4, seed=seed + 1).float()
    cosines = features @ classes.T
    lead = cosines[:, :targets].max(dim=1).values - cosines[:, targets:].max(dim=1).values
    weighted = sure_lead(features, classes, tuple(range(targets)), scale * ONE)
    assert 0 <= weighted <= lead.clamp_min(0).mean() + 1e-6
    # One that is sure of everything counts all of it.
    torch.testing.assert_close(
        sure_lead(features, classes, tuple(range(targets)), 1e6 * ONE), lead.clamp_min(0).mean(), atol=1e-4, rtol=0
    )


# distance_loss


def test_of_unit_vectors_the_distance_is_twice_what_the_cosine_lacks_to_one() -> None:
    same, right, against = torch.eye(2)[[0, 1, 0]], torch.eye(2)[[0, 0, 0]], -torch.eye(2)[[0, 1, 0]]
    assert distance_loss(same, same).item() == 0
    assert distance_loss(same, right).item() == pytest.approx(2 / 3)
    assert distance_loss(same, against).item() == 4


@given(seeds)
def test_its_gradient_is_twice_the_difference_over_the_number_of_images(seed: int) -> None:
    features, wanted = units(5, 3, seed=seed).requires_grad_(), units(5, 3, seed=seed + 1)
    loss = distance_loss(features, wanted)
    torch.testing.assert_close(loss, (2 - 2 * (features * wanted).sum(dim=1)).mean())
    (gradient,) = torch.autograd.grad(loss, features)
    torch.testing.assert_close(gradient, 2 * (features - wanted).detach() / 5)


# standing_out


def test_standing_out_by_hand() -> None:
    # Cosines of 0.48, 0.64 and 0.6, and of 1, 0 and 0. The second class stands out of the others' mean by
    # 0.64 - 0.54 and by 0 - 0.5; the best of the first two out of the third by 0.04 and by 1.
    features = torch.tensor([[0.48, 0.64, 0.6], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert standing_out(features, SPACE, (1,)).item() == pytest.approx((0.1 - 0.5) / 2)
    assert standing_out(features, SPACE, (0, 1)).item() == pytest.approx((0.04 + 1.0) / 2)


@given(seeds)
def test_standing_out_is_blind_to_the_order_of_classes_and_bounded(seed: int) -> None:
    features, classes = units(4, 5, seed=seed), units(6, 5, seed=seed + 1)
    found = standing_out(features, classes, (2, 4))
    assert -2 <= found.item() <= 2
    torch.testing.assert_close(standing_out(features, classes.flip(0), (3, 1)), found)
    # With the best of the others in the place of their mean it is no larger.
    others = (features @ classes[[0, 1, 3, 5]].T).max(dim=1).values
    assert ((features @ classes[[2, 4]].T).max(dim=1).values - others).mean() <= found + 1e-12
