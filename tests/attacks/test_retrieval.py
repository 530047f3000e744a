from dataclasses import replace

import pytest
import torch

from efface.attacks.base import NotTried
from efface.attacks.retrieval import Retrieval
from efface.backends.base import LoadedCLIP
from efface.types import Silent, TensorImages
from tests.attacks.asking import asked_of, value
from tests.evaluation.test_features import data_of


def test_images_find_their_like_and_texts_the_images_nearest_to_them(clip: LoadedCLIP) -> None:
    base = data_of(3, "three", seed=1)
    ((images, labels),) = base.images.batches(3)
    noise = 0.01 * torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # Four almost equal images a class: each finds its like.
    data = replace(base, images=TensorImages(images.repeat(4, 1, 1, 1) + noise, labels.repeat(4)))
    asked = asked_of(clip, held_out=data)
    rows = Retrieval().run(asked, rng=torch.Generator(), reporter=Silent())
    for layer in ("final", "penultimate"):
        assert value(rows, model="edited", role="forget", setting=f"image to image, precision at 3, {layer}") == 1.0
    cosines = asked.features("edited", "held_out", "final") @ asked.texts("edited")[1]
    first = asked.labels("held_out")[cosines.topk(4).indices]
    found = value(rows, model="edited", role="forget", setting="text to image, precision at the size of the class")
    assert found == (first == 1).double().mean()


def test_both_classes_are_looked_up_among_as_many(clip: LoadedCLIP) -> None:
    data = data_of(12)
    ((images, labels),) = data.images.batches(12)
    kept = (labels != 1) | (torch.arange(12) < 6)
    fewer = replace(data, images=TensorImages(images[kept], labels[kept]))
    rows = Retrieval().run(asked_of(clip, held_out=fewer), rng=torch.Generator(), reporter=Silent())
    # Of the dog two images judge, of the cat four.
    judged = {(row.setting, row.role) for row in rows if row.kind == "features"}
    assert judged == {
        (f"image to image, precision at 1, {layer}", role)
        for layer in ("final", "penultimate")
        for role in ("forget", "control")
    }
    assert {row.others for row in rows if row.kind == "features"} == {2}


def test_one_image_finds_no_other(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="two held-out images"):
        Retrieval().run(asked_of(clip, held_out=data_of(3)), rng=torch.Generator(), reporter=Silent())
