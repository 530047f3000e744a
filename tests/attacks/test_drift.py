import pytest
import torch

from efface.attacks.base import NotTried, Row
from efface.attacks.drift import Drift, cosine, layers_of
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.functional.likeness import jackknifed, linear_cka
from efface.types import Silent, TensorImages
from tests.attacks.asking import asked_of, value
from tests.evaluation.test_features import data_of


def tried(clip: LoadedCLIP, edited: LoadedCLIP | None = None, **more: EvalData) -> tuple[Row, ...]:
    return Drift().run(asked_of(clip, edited or clip, **more), rng=torch.Generator().manual_seed(0), reporter=Silent())


def test_a_model_that_nobody_touched_is_like_itself_in_every_layer(clip: LoadedCLIP) -> None:
    rows = tried(clip)
    assert {row.model for row in rows} == {"edited"}
    assert {row.kind for row in rows} == {"measure"}
    for row in rows:
        assert (row.value, row.low, row.high) == pytest.approx((1, 1, 1), abs=1e-6)
    layers = {row.setting for row in rows if row.role == "forget"}
    assert {"block 1, CKA", "penultimate, Procrustes", "final, cosine"} <= layers
    assert {row.setting for row in rows if row.role == "control"} == layers | {f"other classes, {of}" for of in layers}


def test_only_what_follows_an_edit_drifts(clip: LoadedCLIP) -> None:
    edited = clip.copy()
    last = edited.encoder.image_blocks()[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    rows = tried(clip, edited)
    count = len(clip.encoder.image_blocks())
    before, after = f"block {count - 1}, CKA", f"block {count}, Procrustes"
    assert value(rows, setting=before, role="forget") == pytest.approx(1, abs=1e-6)
    assert value(rows, setting=after, role="forget") < 0.99


def test_a_figure_is_that_of_the_class_alone(clip: LoadedCLIP) -> None:
    edited = clip.copy()
    with torch.no_grad():
        for parameter in edited.encoder.module.parameters():
            parameter.mul_(1 + torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)))
    data = data_of(12, "held out")
    assert isinstance(data.images, TensorImages)
    dogs = data.images.images[data.images.labels == 1]
    one, other = (layers_of(model.encoder, dogs)["penultimate"] for model in (clip, edited))
    wanted, _, _ = jackknifed(linear_cka, one, other)
    assert value(tried(clip, edited), setting="penultimate, CKA", role="forget") == pytest.approx(wanted, abs=1e-6)


def test_cosines_are_cut_to_shares() -> None:
    one = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert cosine(one, one) == 1
    assert cosine(one, -one) == 0
    assert cosine(one, torch.tensor([[0.0, 1.0], [0.6, 0.8]])) == pytest.approx(0.5)


def test_of_two_images_nothing_is_said(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="it needs 3 held-out images of every kind, and has 2"):
        tried(clip, held_out=data_of(6, "held out"))
