from dataclasses import replace

import pytest
import torch
from torch import Tensor

import efface
from efface.backends.base import LoadedCLIP
from efface.data.holdout import EvalData
from efface.data.sources import open_source
from efface.errors import EffaceWarning, InputError
from efface.evaluation.features import Gathered
from efface.evaluation.probe import Asking, draw, probe, recovered
from efface.functional.metrics import wilson_interval
from efface.types import TensorImages
from tests.evaluation.test_features import data_of

NAMES = ("dog", "cat", "fox")


def features(each: int, *, seed: int, knows: bool = True) -> Gathered:
    """Points that lie apart by class; those of the first among those of the second where it is not known."""
    labels = torch.arange(3).repeat(each)
    noise = 0.05 * torch.randn((len(labels), 3), generator=torch.Generator().manual_seed(seed))
    places = labels if knows else labels.clamp(min=1)
    vectors = torch.eye(3)[places] + noise
    return Gathered(labels, {"final": vectors, "penultimate": vectors})


def rows_of(labels: Tensor, rows: Tensor, label: int) -> list[int]:
    return [row for row in rows.tolist() if labels[row] == label]


@pytest.mark.parametrize("shots", [1, 3, 9])
def test_a_draw_has_so_many_of_every_class_or_all_of_it_and_none_twice(shots: int) -> None:
    labels = torch.tensor([0] * 2 + [2] * 7 + [1] * 4)
    rows = draw(labels, shots, rng=torch.Generator().manual_seed(0))
    assert len(set(rows.tolist())) == len(rows)
    for label, there in ((0, 2), (1, 4), (2, 7)):
        assert len(rows_of(labels, rows, label)) == min(shots, there)


def test_draws_follow_the_seed_and_differ_from_one_another() -> None:
    labels, rng = torch.arange(4).repeat(20), torch.Generator().manual_seed(1)
    first, second = (draw(labels, 3, rng=rng) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(labels, 3, rng=torch.Generator().manual_seed(1)))


def test_what_lies_apart_is_recovered_and_what_lies_within_a_neighbor_is_not() -> None:
    train = {"reference": features(8, seed=0), "edited": features(8, seed=1, knows=False)}
    test = {"reference": features(20, seed=2), "edited": features(20, seed=3, knows=False)}
    asking = Asking(shots=(2, 8), draws=3)
    found = recovered(train, test, NAMES, 1, asking)
    assert len(found) == 2 * 2 * 2 * 2  # models, layers, shots, roles
    for row in found:
        assert (row.n, row.classes, len(row.draws)) == (20, 3, 3)
        assert row.value == pytest.approx(sum(row.draws) / 3)
        assert (row.low, row.high) == wilson_interval(row.value * 20, 20)
    assert {row.name for row in found if row.role == "forget"} == {"dog"}
    assert {row.name for row in found if row.role == "control"} == {"cat"}
    assert {row.value for row in found if row.model == "reference"} == {1.0}
    both = [row for row in found if row.model == "edited" and row.shots == 8 and row.layer == "final"]
    # Points of both classes lie in one heap: whatever the one gets, the other loses.
    assert sum(row.value for row in both) == pytest.approx(1, abs=0.35)


def test_equal_models_get_equal_figures_whatever_they_are_called() -> None:
    one, other = features(8, seed=0, knows=False), features(20, seed=1, knows=False)
    found = recovered({"a": one, "b": one}, {"a": other, "b": other}, NAMES, 2, Asking(shots=(2, 4)))
    half = len(found) // 2
    assert [replace(row, model="") for row in found[:half]] == [replace(row, model="") for row in found[half:]]
    assert found != recovered({"a": one}, {"a": other}, NAMES, 2, Asking(shots=(2, 4), seed=1))


def test_with_all_images_of_every_class_all_draws_are_the_same_probe() -> None:
    found = recovered(
        {"a": features(4, seed=0, knows=False)}, {"a": features(9, seed=1, knows=False)}, NAMES, 1, Asking(shots=(99,))
    )
    assert all(len(set(row.draws)) == 1 for row in found)


def without(data: EvalData, *labels: int) -> EvalData:
    ((images, truth),) = data.images.batches(len(data.images))
    keep = ~torch.isin(truth, torch.tensor(labels))
    return replace(data, images=TensorImages(images[keep], truth[keep]))


def test_two_sources_are_matched_by_names_and_the_control_has_test_images(clip: LoadedCLIP) -> None:
    train = data_of(24, "train")
    test = replace(data_of(12, "test", seed=3), class_names=("fox", "dog", "cat"))
    asking = Asking(shots=(2,), draws=2)
    found = probe({"reference": clip}, "dog", train=train, test=test, asking=asking)
    assert {row.role: row.name for row in found}["forget"] == "dog"
    control = next(row.name for row in found if row.role == "control")
    assert control in {"cat", "fox"}
    assert {row.n for row in found} == {4}
    # Without test images of the nearest, the next is the control.
    fewer = without(test, test.class_names.index(control))
    others = probe({"reference": clip}, "dog", train=train, test=fewer, asking=asking)
    assert {row.name for row in others if row.role == "control"} == {"cat", "fox"} - {control}
    # Without training images of it either, it is not among the classes.
    none = without(train, train.class_names.index(control))
    assert {row.classes for row in probe({"r": clip}, "dog", train=none, test=test, asking=asking)} == {2}
    nearest = probe({"r": clip}, "dog", train=train, test=test, asking=replace(asking, neighbors=1))
    assert {row.classes for row in nearest} == {2}
    assert {row.name for row in nearest} == {"dog", control}


def test_training_images_that_are_test_images_too_are_left_out(clip: LoadedCLIP) -> None:
    test = data_of(9, "test")
    ((images, labels),) = test.images.batches(9)
    others = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    apart = replace(test, source="train", images=TensorImages(others, labels[:6]))
    dogs = labels == 1
    mixed = replace(
        apart, images=TensorImages(torch.cat([images[dogs], others]), torch.cat([labels[dogs], labels[:6]]))
    )
    expected = probe({"m": clip}, "dog", train=apart, test=test, asking=Asking(shots=(2,)))
    with pytest.warns(EffaceWarning, match="3 training images left out that 'test' has too"):
        found = probe({"m": clip}, "dog", train=mixed, test=test, asking=Asking(shots=(2,)))
    assert found == expected


def test_what_cannot_be_asked_is_refused(clip: LoadedCLIP) -> None:
    train, test = (data_of(9, name) for name in ("train", "test"))  # the same images
    models = {"reference": clip}
    with pytest.raises(InputError, match="all training images of 'dog' are among those of 'test'"):
        probe(models, "dog", train=train, test=test)
    with pytest.raises(InputError, match="'train' has no image of 'cow'"):
        probe(models, "cow", train=train, test=test)
    with pytest.raises(InputError, match="'test' has no image of 'dog'"):
        probe(models, "dog", train=train, test=without(test, 1))
    with pytest.raises(InputError, match="no image of a class that could be the control of 'dog'"):
        probe(models, "dog", train=train, test=without(test, 0, 2))
    with pytest.raises(InputError, match="nothing can be asked"):
        Asking(shots=())
    other = efface.load("builtin:symbols-vit")
    with pytest.raises(InputError, match=r"other reads images by .*, reference by"):
        probe({"reference": clip, "other": other}, "dog", train=train, test=test)


@pytest.mark.slow
def test_gold_has_to_be_taught_the_class_that_the_reference_knows() -> None:
    reference, gold = (efface.load(f"builtin:symbols-vit{kind}") for kind in ("", "-without-knight"))
    train, test = (open_source(f"symbols:{split}", preprocess=reference.preprocess) for split in ("validation", "test"))
    asking = Asking(neighbors=5, shots=(4,), draws=3)
    found = probe({"reference": reference, "gold": gold}, "knight", train=train, test=test, asking=asking)
    of = {(row.model, row.layer, row.role): row for row in found}
    for layer in ("final", "penultimate"):
        assert of["gold", layer, "forget"].high < of["reference", layer, "forget"].low
        assert of["gold", layer, "control"].high > of["reference", layer, "control"].low
        # It never saw the class, and still tells it from the others far more often than one time in six.
        assert of["gold", layer, "forget"].low > 1 / 6
