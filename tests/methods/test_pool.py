"""What the default of lip trains and judges on: rows, what they are taught, and when the guard agrees."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from efface.cut import CutTower
from efface.encoding import encode_classes
from efface.methods.pool import FEW, HELD, Judged, Pool, least_kept, pool_of
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Silent

TARGET, IMAGES, GUARD, LEAVES, COPIES = 2, 5, 7, 16, 2
TAUGHT = GUARD + LEAVES - -(-(GUARD + LEAVES) // HELD)


def data(*, forget: bool = True) -> ForgetData:
    rng = torch.Generator().manual_seed(8)
    images = tiny_images(IMAGES, rng=rng, classes=(TARGET,)) if forget else None
    guard = replace(tiny_images(2, rng=rng, classes=(0, 1, 3, 4)))
    guard = replace(guard, images=guard.images[:GUARD], labels=guard.labels[:GUARD])
    return ForgetData((TARGET,), tiny_class_tokens(), None, images, guard)


def pool(seed: int = 1, mixed: float = 0.5, **kwargs: bool) -> Pool:
    tower, rng = CutTower(tiny_dual_encoder(), 1), torch.Generator().manual_seed(seed)
    return pool_of(tower, data(**kwargs), leaves=LEAVES, copies=COPIES, mixed=mixed, rng=rng, reporter=Silent())


@cache
def made() -> Pool:
    """One that tests look at, which change nothing in it."""
    return pool()


def test_rows_are_the_images_of_the_class_then_the_guard_with_their_copies() -> None:
    found, model = made(), tiny_dual_encoder()
    assert found.labels.tolist() == [TARGET] * IMAGES
    assert found.forget == IMAGES * (1 + COPIES)
    assert len(found.activations) == len(found.features) == found.forget + TAUGHT * (1 + COPIES)
    assert len(found.held) == len(found.before) == len(found.lead) == GUARD + LEAVES - TAUGHT
    assert found.guard + found.held_guard == GUARD
    torch.testing.assert_close(found.features.norm(dim=1), torch.ones(len(found.features)))
    # Those that come first are the images as they are: the untouched model's own features of them.
    images = data().forget
    assert images is not None
    with torch.no_grad():
        shown = normalize(model.encode_image(next(iter(images.batches(IMAGES)))[0]), dim=1)
    torch.testing.assert_close(found.features[:IMAGES], shown)
    torch.testing.assert_close(found.classes, encode_classes(model, tiny_class_tokens()))


def test_guard_images_come_before_the_leaves_in_what_is_taught_and_in_what_is_held_back() -> None:
    found, tower, guard = made(), CutTower(tiny_dual_encoder(), 1), data().guard
    assert guard is not None
    with torch.no_grad():
        rows = tower.activations(next(iter(guard.batches(GUARD)))[0])

    def of_guard(activations: Tensor) -> list[bool]:
        return (torch.cdist(activations.flatten(1), rows.flatten(1)).min(dim=1).values < 1e-4).tolist()

    taught = found.activations[found.forget : found.forget + TAUGHT]
    assert of_guard(taught) == [True] * found.guard + [False] * (TAUGHT - found.guard)
    back = GUARD + LEAVES - TAUGHT
    assert of_guard(found.held) == [True] * found.held_guard + [False] * (back - found.held_guard)


def test_what_is_held_back_is_drawn_and_not_every_eighth_image() -> None:
    """A guard whose classes come round in as many as are skipped would be held back class by class."""
    counts = {pool(seed).held_guard for seed in range(8)}
    assert len(counts) > 1


def test_the_same_draws_give_the_same_pool_and_others_another() -> None:
    assert torch.equal(made().activations, pool().activations)
    assert not torch.equal(made().activations, pool(2).activations)
    assert not torch.equal(made().activations, pool(mixed=1.0).activations)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_what_leads_to_the_class_is_taught_its_second_choice_and_the_rest_what_it_is(strength: float) -> None:
    found = made()
    wanted = found.wanted(strength)
    cosines, before = wanted @ found.classes.T, found.features @ found.classes.T
    led = before.argmax(dim=1) == TARGET
    assert led[: len(found.labels)].any()
    # A copy of the class's image may be behind already, by less than it is to be.
    stays = ~led & (torch.arange(len(led)) >= (found.forget if strength else 0))
    assert torch.equal(wanted[stays], found.features[stays])
    others = before.clone()
    others[:, TARGET] = -1
    second = others.argmax(dim=1)
    lead = cosines.gather(1, second[:, None])[:, 0] - cosines[:, TARGET]
    # Of the guard no more than that the class leads no longer, whatever the strength.
    assert (lead[led] >= -1e-5).all()
    torch.testing.assert_close(wanted[found.forget :], found.wanted(0.0)[found.forget :])
    if strength:
        assert (lead[: found.forget][led[: found.forget]] > 1e-3).all()


def test_agreement_is_over_the_surer_half_of_what_is_held_back_less_what_led_to_the_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six held back: two unsure, one that led to the class; of the three left one is answered otherwise."""
    classes = torch.eye(3)
    # By their rows: two images of the class, one of them still given to it; then those held back.
    answers = torch.tensor([0, 1, 2, 2, 1, 2, 1, 1])
    found = Pool(
        activations=torch.arange(2),
        features=classes[:2],
        forget=2,
        labels=torch.zeros(2, dtype=torch.long),
        guard=0,
        held_guard=0,
        held=torch.arange(2, 8),
        before=torch.tensor([1, 1, 1, 2, 2, 0]),
        lead=torch.tensor([0.1, 0.2, 0.5, 0.5, 0.5, 0.5]),
        classes=classes,
        targets=(0,),
        sure_lead=0.1,
    )
    tower = CutTower(tiny_dual_encoder(), 1)
    monkeypatch.setattr(CutTower, "all_features", lambda _, rows: classes[answers][rows])
    assert found.judge(tower) == pytest.approx((1 / 2, 2 / 3, 1.0, 0))
    # Were those held back all of classes: of four given to 1 two stay; class 2 has too few to tell.
    fewer = replace(found, before=torch.tensor([1, 1, 1, 2, 2, 1]), held_guard=6)
    assert fewer.judge(tower).kept == pytest.approx(1 / 2)
    # With nothing held back but what led to the class there is nothing to disagree on.
    alone = replace(found, before=torch.zeros(6, dtype=torch.long))
    assert alone.judge(tower).agreement == 1


def test_the_untouched_tower_agrees_with_itself() -> None:
    found = made().judge(CutTower(tiny_dual_encoder(), 1))
    assert (found.agreement, found.kept) == (1, 1)
    assert found.accuracy > 0.9


def test_what_is_taught_of_the_guard_is_judged_class_by_class_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class 1 has four guard images that are trained on and one held back; three of the five stay."""
    classes = torch.eye(3)
    before, now = torch.tensor([0, 1, 1, 1, 1, 1]), torch.tensor([2, 1, 1, 2, 0, 1])
    found = Pool(torch.arange(5), classes[before[:5]], 1, before[:1], 4, torch.arange(5, 6), 1, before[5:],
                 torch.ones(1), classes, (0,), 0.1)  # fmt: skip
    monkeypatch.setattr(CutTower, "all_features", lambda _, rows: classes[now][rows])
    assert found.judge(CutTower(tiny_dual_encoder(), 1)) == pytest.approx(Judged(0.0, 1.0, 3 / 5, 1))


def test_of_several_classes_the_one_that_is_left_most_of_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three images of class 0 none is given to it, of two of class 1 one."""
    classes = torch.eye(3)
    labels, now = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([2, 2, 2, 1, 2])
    nothing = torch.arange(0)
    found = Pool(torch.arange(5), classes[labels], 5, labels, 0, nothing, 0, nothing, nothing, classes, (0, 1), 0.1)
    monkeypatch.setattr(CutTower, "all_features", lambda _, rows: classes[now][rows])
    assert found.judge(CutTower(tiny_dual_encoder(), 1)).accuracy == pytest.approx(1 / 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_the_least_kept_is_that_of_the_class_that_lost_most(pairs: list[tuple[int, int]]) -> None:
    before, now = (torch.tensor([pair[i] for pair in pairs], dtype=torch.long) for i in (0, 1))
    found = least_kept(before, now, (0,))
    shares = [
        sum(a == b for a, b in mine) / len(mine)
        for c in (1, 2, 3)
        if len(mine := [pair for pair in pairs if pair[0] == c]) >= FEW
    ]
    assert found == pytest.approx((min(shares, default=1.0), len(shares)))
    assert least_kept(before, before, (0,)) == (1, len(shares))


def test_without_images_of_the_class_there_is_no_pool() -> None:
    with pytest.raises(ValueError, match="images of the class"):
        pool(forget=False)
