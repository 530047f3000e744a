"""Relearning is asked of tiny models: random towers, to which classes of noise can be taught by heart or not at all."""

import pytest
import torch

from efface.attacks.base import NotTried, Row
from efface.attacks.relearn import Relearn
from efface.backends.base import LoadedCLIP, digest
from efface.types import Silent, TensorImages
from tests.attacks.asking import asked_of, check_own, three_of, value
from tests.evaluation.test_features import data_of

SHORT = Relearn(shots=(1, 3), draws=1, retain_images=4, unrelated_images=4, steps=3, batch_size=8, copies=1)


def tried(clip: LoadedCLIP, settings: Relearn = SHORT, **more: object) -> tuple[Row, ...]:
    return settings.run(asked_of(clip, clip, **more), rng=torch.Generator().manual_seed(0), reporter=Silent())


@pytest.fixture(scope="module")
def rows(clip: LoadedCLIP) -> tuple[Row, ...]:
    return tried(clip, models=three_of(clip))


def test_every_model_and_role_has_a_row_for_each_way_and_step_that_is_looked_at(rows: tuple[Row, ...]) -> None:
    ways = ("k = 1", "k = 3", "retain images only", "unrelated images")
    wanted = {f"{way}, {steps}" for way in ways for steps in ("1 step", "2 steps", "3 steps")} | {"no steps"}
    for model in ("reference", "edited", "gold"):
        for role in ("forget", "control"):
            mine = [row for row in rows if (row.model, row.role) == (model, role)]
            assert {row.setting for row in mine} == wanted
            assert len(mine) == len(wanted)
            assert {row.n for row in mine} == {4}
    (one,) = [r for r in rows if (r.setting, r.model, r.role) == ("k = 3, 2 steps", "edited", "forget")]
    assert (one.cost["images"], one.cost["steps"], one.kind) == (3, 2, "training")
    last = [row for row in rows if "steps to half of what was lost" in row.cost]
    assert {row.setting for row in last} == {f"{way}, 3 steps" for way in ways}
    # Nothing was lost by the original's own names.
    whole = [row for row in last if (row.model, row.role) == ("reference", "forget")]
    assert {row.cost["steps to half of what was lost"] for row in whole} == {0}


def test_every_row_is_of_its_own_model_and_models_are_left_as_they_were(
    clip: LoadedCLIP, rows: tuple[Row, ...]
) -> None:
    check_own(rows)
    models = three_of(clip)
    before = {called: digest(model.stored_state()) for called, model in models.items()}
    assert tried(clip, models=models) == rows
    assert {called: digest(model.stored_state()) for called, model in models.items()} == before
    assert all(p.requires_grad and p.grad is None for m in models.values() for p in m.encoder.module.parameters())


def test_a_class_is_taught_with_its_own_images(clip: LoadedCLIP) -> None:
    # The held-out images are the attacker's own: what is learned by heart is answered right.
    own = data_of(15, "own", seed=5)
    settings = Relearn(shots=(5,), draws=1, retain_images=5, steps=16, batch_size=16, copies=0, learning_rate=3e-3)
    rows = tried(clip, settings, images=own, held_out=own)
    assert value(rows, setting="k = 5, 16 steps", model="edited", role="forget") > 0.7
    assert value(rows, setting="k = 5, 16 steps", model="edited", role="control") > 0.7


def test_without_images_of_other_classes_nothing_can_be_held(clip: LoadedCLIP) -> None:
    of_two = data_of(12, "two")
    assert isinstance(of_two.images, TensorImages)
    keep = of_two.images.labels < 2
    fewer = TensorImages(of_two.images.images[keep], of_two.images.labels[keep])
    with pytest.raises(NotTried, match="no image of 'fox'"):
        tried(clip, images=type(of_two)("two", fewer, of_two.class_names, "two"))
    # What was forgotten beside it was not to stay.
    with pytest.raises(NotTried, match="no image of another class"):
        tried(clip, beside=("fox",))
