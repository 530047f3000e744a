import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.probes import fit_probe
from efface.functional.similarity import accuracy

seeds = st.integers(0, 2**31)
few = settings(max_examples=8)


def clusters(
    each: int, *, classes: int = 4, channels: int = 6, spread: float = 0.1, seed: int
) -> tuple[Tensor, Tensor]:
    """Points around the first unit vectors, ``each`` of every class."""
    labels = torch.arange(classes).repeat(each)
    noise = torch.randn((len(labels), channels), generator=torch.Generator().manual_seed(seed))
    return torch.eye(classes, channels)[labels] + spread * noise, labels


@few
@given(seeds)
def test_clusters_that_lie_apart_are_told_apart_from_four_points_each(seed: int) -> None:
    probe = fit_probe(*clusters(4, seed=seed), 4)
    points, labels = clusters(50, seed=seed + 1)
    assert accuracy(probe(points), labels) == 1


def test_labels_that_mean_nothing_are_guessed_at_chance() -> None:
    # Chance is 1/4; four standard deviations of 1,000 guesses are 4 sqrt(3/16 / 1000) = 0.055.
    rng = torch.Generator().manual_seed(0)
    points, _ = clusters(300, seed=1)
    wrong = torch.randint(4, (len(points),), generator=rng)
    probe = fit_probe(points[:200], wrong[:200], 4)
    assert abs(accuracy(probe(points[200:]), wrong[200:]) - 0.25) < 0.055


@few
@given(seeds, st.floats(1e-4, 1e4), st.floats(-100, 100))
def test_unit_and_origin_of_the_features_do_not_matter(seed: int, unit: float, origin: float) -> None:
    points, labels = (t.double() if t.is_floating_point() else t for t in clusters(5, spread=0.5, seed=seed))
    asked = clusters(50, spread=0.5, seed=seed + 1)[0].double()
    units = unit * torch.linspace(0.1, 10, points.shape[1], dtype=torch.float64)
    plain = fit_probe(points, labels, 4)
    moved = fit_probe(points * units + origin * units, labels, 4)
    assert torch.equal(plain(asked), moved(asked * units + origin * units))


def test_two_points_by_hand() -> None:
    # x = -1 of class 0 and +1 of class 1, weights -w and w by symmetry: the loss is 2 log(1 + exp(-2w)) + w^2 / C.
    # Its derivative is zero where w = 2 C / (1 + exp(2w)); for C = 1 that is 0.5212, for C = 100 it is 2.2402.
    points, labels = torch.tensor([[4.0], [6.0]]), torch.tensor([0, 1])
    for inverse_penalty, by_hand in ((1.0, 0.5212), (100.0, 2.2402)):
        probe = fit_probe(points, labels, 2, inverse_penalty=inverse_penalty)
        assert (probe.mean.item(), probe.scale.item()) == (5, 1)
        assert probe.weight[:, 0].tolist() == pytest.approx([-by_hand, by_hand], abs=1e-4)
        assert probe.bias.tolist() == pytest.approx([0, 0], abs=1e-6)


@few
@given(seeds)
def test_at_the_best_fit_each_class_is_expected_as_often_as_it_is_there(seed: int) -> None:
    # The bias has no penalty: its derivative, the summed probabilities less the counts, is zero.
    points, labels = clusters(6, spread=1.0, seed=seed)
    points, labels = points[:-5], labels[:-5]
    probe = fit_probe(points, labels, 4)
    logits = (points - probe.mean) / probe.scale @ probe.weight.T + probe.bias
    torch.testing.assert_close(logits.softmax(dim=1).sum(dim=0), labels.bincount().double(), atol=1e-3, rtol=0)


@few
@given(seeds)
def test_every_point_twice_at_half_the_inverse_penalty_is_the_same_probe(seed: int) -> None:
    points, labels = clusters(5, spread=0.5, seed=seed)
    once = fit_probe(points, labels, 4, inverse_penalty=1.0)
    twice = fit_probe(points.repeat(2, 1), labels.repeat(2), 4, inverse_penalty=0.5)
    torch.testing.assert_close(once.weight, twice.weight, atol=1e-4, rtol=0)


def test_a_feature_that_is_the_same_in_all_images_but_for_rounding_says_nothing() -> None:
    points, labels = clusters(5, seed=0)
    still = torch.full((len(points), 1), 0.1) * (1 + 1e-7 * labels[:, None])
    probe = fit_probe(torch.cat([points, still], dim=1), labels, 4)
    assert probe.weight[:, -1].abs().max() == 0
    asked, _ = clusters(20, seed=1)
    other = torch.cat([asked, torch.full((len(asked), 1), 77.0)], dim=1)
    assert torch.equal(probe(other), fit_probe(points, labels, 4)(asked))


def test_a_class_without_an_image_is_not_answered() -> None:
    points, labels = clusters(5, classes=3, seed=0)
    assert set(fit_probe(points, labels, 4)(clusters(20, classes=3, seed=1)[0]).tolist()) == {0, 1, 2}
