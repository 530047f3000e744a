"""What a step of an edit sees, and its loss with an even and a firm guard, from the formulas."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from efface.cut import CutTower
from efface.functional.distillation import row_divergence
from efface.methods.course import Course
from efface.methods.handing import EVEN, FIRM, Guarding, Handing
from efface.methods.pool import Pool
from efface.testing import tiny_dual_encoder

FORGET, GUARD, ROWS = 6, 4, 40
SIZES = 8, 64
CLASSES = torch.eye(3)


def handing(how: Guarding, *, guard: int = GUARD) -> Handing:
    """Six rows of the class, then four guard images and thirty others."""
    features = CLASSES[torch.arange(ROWS) % 3]
    pool = Pool(
        activations=torch.arange(ROWS),
        features=features,
        forget=FORGET,
        labels=torch.zeros(FORGET, dtype=torch.long),
        guard=guard,
        held=torch.arange(0),
        held_guard=0,
        before=torch.arange(0),
        lead=torch.zeros(0),
        classes=CLASSES,
        targets=(0,),
        sure_lead=0.1,
    )
    course = Course("", 1, 1, 1.0, True, torch.Generator().manual_seed(5))
    return Handing(CutTower(tiny_dual_encoder(), 1), pool, features, course, SIZES, how)


@pytest.mark.parametrize("how", [EVEN, FIRM])
def test_a_step_sees_the_class_first_and_then_the_guard(how: Guarding) -> None:
    _, rows = handing(how).batch()
    assert len(rows) == sum(SIZES)
    assert (rows[: SIZES[0]] < FORGET).all()
    assert (rows[SIZES[0] :] >= FORGET).all()


def test_half_of_a_firm_guard_are_images_of_classes_as_they_are() -> None:
    rows = handing(FIRM).batch()[1][SIZES[0] :]
    own = (rows < FORGET + GUARD).double()
    assert own[SIZES[1] // 2 :].all()
    # Those drawn from all of the guard are of classes as chance has it: 4 of 34.
    assert own[: SIZES[1] // 2].mean() < 0.5
    assert handing(EVEN).batch()[1][SIZES[0] :].lt(FORGET + GUARD).double().mean() < 0.5


def test_a_firm_guard_of_leaves_alone_is_drawn_from_all_of_them() -> None:
    rows = handing(FIRM, guard=0).batch()[1]
    assert len(rows) == sum(SIZES)
    assert len(set(rows[SIZES[0] :].tolist())) > GUARD


def test_the_terms_are_distances_and_a_firm_guard_weighs_ten_and_holds_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_dual_encoder()
    rows = torch.tensor([0, 3, 6, 7])
    # Of the class the first is right, the second opposite; of the guard one is right, one at a right angle.
    shown = torch.stack([CLASSES[0], -CLASSES[0], CLASSES[0], CLASSES[2]])

    def features(_: CutTower, activations: Tensor) -> Tensor:
        assert torch.equal(activations, rows)
        return shown

    monkeypatch.setattr(CutTower, "features", features)
    even = replace(handing(EVEN), sizes=(2, 2)).loss((rows, rows))
    assert {name: term.item() for name, term in even.items()} == pytest.approx({"class": 2.0, "guard": 1.0})
    firm = replace(handing(FIRM), sizes=(2, 2)).loss((rows, rows))
    divergence = row_divergence(shown[2:], CLASSES[[0, 1]], CLASSES, model.logit_scale)
    assert {name: term.item() for name, term in firm.items()} == pytest.approx(
        {"class": 2.0, "guard": 10.0, "rows": 0.3 * divergence.item()}
    )
    assert divergence > 0
