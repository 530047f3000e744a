import dataclasses

import pytest
import torch

from efface.data.holdout import EvalData
from efface.encoding import encode_classes
from efface.evaluation.collateral import class_changes, confusions, retrieval_changes, retrieval_scores
from efface.evaluation.zero_shot import Answers, answer
from efface.functional.metrics import paired_change
from efface.functional.projections import damping_map
from efface.testing import CLASSES, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import Silent

NAMES = tuple(f"class {i}" for i in range(CLASSES))
TARGET, VICTIM = 2, 4


@pytest.fixture(scope="module")
def planted() -> Answers:
    """A model that loses one class, and another one beside it."""
    base, edited = tiny_dual_encoder(), tiny_dual_encoder()
    for label in (TARGET, VICTIM):
        direction = encode_classes(edited, tiny_class_tokens())[label].double()
        edited.fold_image_map_(damping_map(direction[None] / direction.norm(), 1.8))
    images = tiny_images(40, rng=torch.Generator().manual_seed(5))
    data = EvalData("held out", images, NAMES, "0" * 64)
    return answer((base, edited), data, tiny_class_tokens(), targets=(TARGET,), batch_size=32, reporter=Silent())


def text_of(answers: Answers) -> torch.Tensor:
    assert answers.detail is not None
    return answers.detail.texts[[TARGET]]


def test_planted_damage_is_the_largest_loss_of_the_other_classes(planted: Answers) -> None:
    found = [c for c in class_changes(planted, text_of(planted)) if c.split == "retain"]
    worst = min(found, key=lambda c: c.high)
    assert worst.name == NAMES[VICTIM]
    assert worst.high < 0


def test_changes_are_paired_and_carry_the_distance_of_the_texts(planted: Answers) -> None:
    found = {c.name: c for c in class_changes(planted, text_of(planted))}
    assert list(found) == list(NAMES)
    for label, name in enumerate(NAMES):
        rows = planted.labels == label
        expected = paired_change(planted.ranks["before"][rows] < 1, planted.ranks["both"][rows] < 1)
        assert (found[name].value, found[name].low, found[name].high) == expected
        assert found[name].n == 40
    assert found[NAMES[TARGET]].text_distance == pytest.approx(0, abs=1e-6)
    assert found[NAMES[TARGET]].split == "forget"
    assert all(c.text_distance is not None and 0 <= c.text_distance <= 2 for c in found.values())
    assert {c.text_distance for c in class_changes(planted, None)} == {None}


def test_confusions_count_every_image_of_the_class_once_and_what_was_taken_for_it(planted: Answers) -> None:
    found = list(confusions(planted))
    of_target = [c for c in found if c.name == NAMES[TARGET]]
    assert sum(c.before for c in of_target) == sum(c.after for c in of_target) == 40
    assert found[: len(of_target)] == of_target
    assert [c.after for c in of_target] == sorted((c.after for c in of_target), reverse=True)
    assert all(c.called == NAMES[TARGET] for c in found[len(of_target) :])
    kept = [c for c in of_target if c.called == NAMES[TARGET]]
    right = {pair: int((planted.ranks[pair][planted.labels == TARGET] < 1).sum()) for pair in ("before", "both")}
    assert [(c.before, c.after) for c in kept] == [(right["before"], right["both"])]
    assert list(confusions(dataclasses.replace(planted, targets=()))) == []


def test_of_several_classes_all_are_asked_about_and_the_nearest_text_counts(planted: Answers) -> None:
    both = dataclasses.replace(planted, targets=(VICTIM, TARGET))
    assert both.detail is not None
    texts = both.detail.texts
    found = {c.name: c for c in class_changes(both, texts[[VICTIM, TARGET]])}
    nearest = (texts @ texts[[VICTIM, TARGET]].T).amax(dim=1)
    assert [c.text_distance for c in found.values()] == pytest.approx((1 - nearest).clamp(0, 2).tolist(), abs=1e-6)
    assert [name for name, c in found.items() if c.split == "forget"] == [NAMES[TARGET], NAMES[VICTIM]]
    taken = list(confusions(both))
    assert taken[0].name == NAMES[VICTIM]
    for label in (VICTIM, TARGET):
        assert sum(c.before for c in taken if c.name == NAMES[label]) == 40
    assert len({(c.name, c.called) for c in taken}) == len(taken)
    assert {s.n for s in retrieval_scores(both, "both")} == {CLASSES - 2}


def test_lookup_counts_the_classes_that_stay(planted: Answers) -> None:
    before, after = retrieval_scores(planted, "before"), retrieval_scores(planted, "both")
    assert {(s.split, s.n) for s in (*before, *after)} == {("retain", CLASSES - 1)}
    assert [s.value for s in before] == [1.0, 1.0, 1.0]
    found = retrieval_changes(planted, "both")
    assert [c.value for c in found] == pytest.approx([b.value - a.value for a, b in zip(before, after, strict=True)])
    assert planted.detail is not None
    first = planted.labels[planted.detail.nearest["both"].rows[:, 0]]
    assert first[VICTIM] != VICTIM
    kept = sum(int(first[label]) == label for label in range(CLASSES) if label != TARGET)
    assert after[0].value == kept / (CLASSES - 1)
    whole = dataclasses.replace(planted, targets=())
    assert {(s.split, s.n) for s in retrieval_scores(whole, "both")} == {("all", CLASSES)}
    assert retrieval_scores(dataclasses.replace(planted, detail=None), "both") == ()
