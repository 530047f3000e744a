from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from efface.auditing import sharing
from efface.auditing.sharing import beside_it, counts_of, shared_out, warn_of_alike, without_judging
from efface.data.holdout import EvalData
from efface.errors import EffaceWarning
from efface.types import Silent, TensorImages
from tests.evaluation.test_features import data_of


def of(labels: Sequence[int], names: tuple[str, ...] = ("cat", "dog", "fox"), source: str = "some") -> EvalData:
    """Images of a pixel each, all different."""
    pixels = torch.arange(float(3 * len(labels))).reshape(-1, 3, 1, 1)
    return EvalData(source, TensorImages(pixels, torch.tensor(labels, dtype=torch.int64)), names, source)


def test_the_control_is_the_nearest_class_that_judges_and_that_the_attacker_has() -> None:
    held_out = of([0, 0, 1, 1, 2, 2])
    assert beside_it(["fox", "cat"], held_out, of([0, 1, 2])) == ("fox", ("fox", "cat"))
    assert beside_it(["fox", "cat"], held_out, of([0, 1])) == ("cat", ("cat",))
    # Of none other he has images: what needs them is not tried, and the rest is.
    assert beside_it(["fox", "cat"], held_out, of([1])) == ("fox", ())
    assert beside_it(["fox", "cat"], of([1]), of([0, 1, 2])) == (None, ("fox", "cat"))
    # Half of one image is none.
    assert beside_it(["fox", "cat"], of([0, 0, 1, 1, 2]), None) == ("cat", ("cat",))


def test_near_are_so_many_of_those_that_the_attacker_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "NEAR", 2)
    names = ("cat", "dog", "fox", "owl", "yak")
    own = of([0, 1, 3, 4], names)
    assert beside_it(["fox", "yak", "owl", "cat"], of([0, 1, 2, 3, 4], names), own)[1] == ("yak", "owl")


def test_a_name_that_two_classes_have_is_no_class_of_either_side() -> None:
    alike = of([0, 1, 2, 2, 3, 3], ("cat", "dog", "fox", "fox"))
    assert counts_of(alike) == {"cat": 1, "dog": 1}
    judges, _ = shared_out(alike, None, ("dog", "cat"), ("cat",), 0)
    assert judges.images.labels.tolist() == [0, 1]
    with pytest.warns(EffaceWarning, match="'some' has several classes called 'fox': their images are left out"):
        warn_of_alike(alike)
    warn_of_alike(of([0, 1]))


@pytest.mark.parametrize(("classes", "each"), [(12, 9), (40, 2)])
def test_no_more_images_judge_than_the_gallery_holds(monkeypatch: pytest.MonkeyPatch, classes: int, each: int) -> None:
    monkeypatch.setattr(sharing, "JUDGED", 3)
    monkeypatch.setattr(sharing, "GALLERY", 26)
    names = tuple(f"class {label}" for label in range(classes))
    data = of([label for label in range(classes) for _ in range(each)], names)
    judges, _ = shared_out(data, of([0, 1], names, "own"), ("class 0", "class 1"), (), 0)
    counts = torch.bincount(judges.images.labels, minlength=classes)
    assert counts[:2].tolist() == [min(3, each)] * 2
    # Two of each of ten others; one of each of twenty others of thirty-eight.
    assert sorted(set(counts[2:].tolist())) == ([2] if classes == 12 else [0, 1])
    assert int(counts[2:].sum()) == 20


def test_what_judges_too_is_taken_from_the_attacker_by_its_pixels() -> None:
    judges, own = data_of(6), data_of(6, "own", seed=3)
    ((pixels, labels),) = judges.images.batches(6)
    ((others, _),) = own.images.batches(6)
    assert without_judging(own, judges, Silent()) is own
    copied = replace(own, images=TensorImages(torch.cat([others, pixels[:2]]), torch.cat([labels, labels[[1, 2]]])))
    with pytest.warns(EffaceWarning, match="2 images of the attacker's left out that judge too, pixel by pixel"):
        left = without_judging(copied, judges, Silent())
    ((found, classes),) = left.images.batches(8)
    assert torch.equal(found, others)
    assert torch.equal(classes, labels)
    with pytest.warns(EffaceWarning, match="6 images"):
        assert len(without_judging(replace(judges, sha256="another"), judges, Silent()).images) == 0
