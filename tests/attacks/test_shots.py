from dataclasses import replace

import pytest
import torch

from efface.attacks.base import NotTried
from efface.attacks.prototype import Prototype
from efface.attacks.shots import neighborhood
from efface.backends.base import LoadedCLIP
from efface.types import Silent, TensorImages
from tests.attacks.asking import asked_of
from tests.evaluation.test_features import data_of


def test_the_class_comes_first_and_the_control_is_always_there(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    near = neighborhood(asked, 5)
    assert near.names[0] == "dog"
    assert set(near.names) == {"cat", "dog", "fox"}
    cosines = asked.texts("reference") @ asked.texts("reference")[1]
    others = sorted((0, 2), key=lambda label: -float(cosines[label]))
    assert near.names[1:] == tuple(asked.among[label] for label in others)
    assert neighborhood(asked, 1).names == ("dog", "cat")
    assert neighborhood(asked, 1).roles == (("forget", 0), ("control", 1))
    # Of the images that judge, those of the two alone, under their places among the names.
    test = neighborhood(asked, 1).test["edited"]
    assert sorted(test.labels.tolist()) == [0] * 4 + [1] * 4


def test_draws_have_so_many_of_every_class_and_all_of_them_once(clip: LoadedCLIP) -> None:
    near = neighborhood(asked_of(clip), 5)
    rng = torch.Generator().manual_seed(0)
    drawn = list(near.draws(2, 3, rng))
    assert len(drawn) == 3
    for rows in drawn:
        assert torch.bincount(near.labels[rows]).tolist() == [2, 2, 2]
    assert len(list(near.draws(5, 3, rng))) == 1


def test_sizes_that_no_class_has_are_the_most_that_one_has_once(clip: LoadedCLIP) -> None:
    data = data_of(15, "own", seed=5)
    ((images, labels),) = data.images.batches(15)
    # Of the dog two, of the others five each.
    kept = torch.tensor([row for row, label in enumerate(labels.tolist()) if label != 1 or row < 6])
    asked = asked_of(clip, images=replace(data, images=TensorImages(images[kept], labels[kept])))
    near = neighborhood(asked, 5)
    assert near.sizes((1, 4, 16, 32)) == (1, 4, 5)
    assert near.sizes((1, 4, 16), label=0) == (1, 2)
    assert near.cost(2) == {"images a class": 2}
    assert near.cost(4) == {"images a class": 4, "images of the class": 2}
    rows = Prototype(shots=(1, 4, 16), false_positives=0.4).run(asked, rng=torch.Generator(), reporter=Silent())
    assert {(row.setting, row.cost["images"]) for row in rows} == {("k = 1", 1), ("k = 2", 2)}


def test_what_was_forgotten_beside_it_is_no_neighbor(clip: LoadedCLIP) -> None:
    assert neighborhood(asked_of(clip, beside=("fox",)), 5).names == ("dog", "cat")


def test_without_images_of_both_classes_it_is_not_tried(clip: LoadedCLIP) -> None:
    data = data_of(9, "own", seed=5)
    ((images, labels),) = data.images.batches(9)
    for lost, name in ((1, "dog"), (0, "cat")):
        fewer = replace(data, images=TensorImages(images[labels != lost], labels[labels != lost]))
        with pytest.raises(NotTried, match=f"images of '{name}'"):
            neighborhood(asked_of(clip, images=fewer), 5)
