import pytest
import torch

from efface.attacks.base import NotTried, Row
from efface.attacks.soft_prompt import SoftPrompt
from efface.backends.base import LoadedCLIP, digest
from efface.data.holdout import EvalData
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, three_of, value
from tests.evaluation.test_features import data_of


def tried(clip: LoadedCLIP, settings: SoftPrompt, **more: object) -> tuple[Row, ...]:
    return settings.run(asked_of(clip, clip, **more), rng=torch.Generator().manual_seed(0), reporter=Silent())


def test_every_row_is_of_its_own_model_and_models_are_left_as_they_were(clip: LoadedCLIP) -> None:
    models = three_of(clip)
    before = {called: digest(model.stored_state()) for called, model in models.items()}
    rows = tried(clip, SoftPrompt(shots=(1, 3), draws=2, steps=2), models=models)
    assert {called: digest(model.stored_state()) for called, model in models.items()} == before
    assert {(r.model, r.role, r.setting) for r in rows} == {
        (model, role, setting)
        for model in ("reference", "edited", "gold")
        for role in ("forget", "control")
        for setting in ("k = 1", "k = 3")
    }
    check_own(rows)
    assert all((r.n, r.cost["steps"]) == (4, 2) for r in rows)
    assert {(r.setting, r.kind) for r in rows} == {("k = 1", "features"), ("k = 3", "measure")}
    assert all(p.grad is None for m in models.values() for p in m.encoder.module.parameters())


def test_what_image_features_hold_apart_a_prompt_finds(clip: LoadedCLIP) -> None:
    own = data_of(15, "own", seed=5)
    rows = tried(clip, SoftPrompt(shots=(5,), draws=1, steps=25, vectors=1), images=own, held_out=own)
    start = tried(clip, SoftPrompt(shots=(5,), draws=1, steps=1), images=own, held_out=own)
    for role in ("forget", "control"):
        of = {"model": "edited", "role": role, "setting": "k = 5"}
        assert value(rows, **of) >= max(0.6, value(start, **of))


def test_without_images_of_others_no_prompt_is_fitted(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="images of other classes"):
        tried(clip, SoftPrompt(), images=EvalData("two", data_of(2).images, ("cat", "dog", "fox"), "two"))
    with pytest.raises(NotTried, match="images of other classes"):
        tried(clip, SoftPrompt(), beside=("fox",))
