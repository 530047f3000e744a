from dataclasses import replace

import pytest
import torch

from efface.attacks.base import NEVER_LEARNED, NotTried, Trial
from efface.backends.base import LoadedCLIP
from efface.functional.metrics import drawn_interval, wilson_interval
from tests.attacks.asking import asked_of
from tests.evaluation.test_features import data_of


def test_images_are_told_apart_by_names_and_encoded_once(clip: LoadedCLIP) -> None:
    turned = replace(data_of(9), class_names=("fox", "cow", "cat"))
    asked = asked_of(clip, images=turned)
    # The source counts fox, cow, cat; the cow is not asked about.
    assert asked.labels("images").tolist() == [2, 0, 2, 0, 2, 0]
    assert asked.features("reference", "images", "final") is asked.features("reference", "images", "final")
    assert not torch.allclose(
        asked.features("reference", "images", "final"), asked.features("edited", "images", "final")
    )
    assert asked.labels("held_out").tolist() == [0, 1, 2] * 4
    assert asked.roles == (("forget", 1), ("control", 0))


def test_texts_are_one_unit_vector_a_class_in_the_templates_that_are_asked_for(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    torch.testing.assert_close(asked.texts("edited").norm(dim=1), torch.ones(3))
    assert asked.texts("edited") is asked.texts("edited", asked.templates)
    assert not torch.allclose(asked.texts("edited"), asked.texts("edited", ("a drawing of a {}.",)))


def test_a_name_that_was_never_learned_stands_in_the_place_of_the_class_alone(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    unnamed, known = asked.unnamed("edited"), asked.texts("edited")
    assert torch.equal(unnamed[[0, 2]], known[[0, 2]])
    tokens = clip.tokenize([asked.templates[0].format(NEVER_LEARNED)])
    with torch.no_grad():
        torch.testing.assert_close(unnamed[1], asked.models["edited"].encoder.encode_text(tokens)[0])


def test_without_images_of_the_attackers_own_an_attack_on_them_is_not_tried(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="it needs images"):
        asked_of(clip, images=None).features("edited", "images", "final")


def test_classes_that_were_forgotten_beside_it_are_none_of_the_others(clip: LoadedCLIP) -> None:
    assert asked_of(clip).others == (2,)
    assert asked_of(clip, beside=("fox",)).others == ()


def test_images_of_a_name_that_two_classes_have_are_left_out(clip: LoadedCLIP) -> None:
    twice = replace(data_of(12), class_names=("fox", "dog", "fox"))
    assert asked_of(clip, images=twice).labels("images").tolist() == [1] * 4


def test_the_interval_over_draws_holds_what_the_draw_adds() -> None:
    trial = Trial("probe", "k = 1", "features", {"images": 1}, 20)
    assert trial.over_draws("edited", "forget", [0.5], 100) == trial.mean("edited", "forget", 0.5, 100)
    row = trial.over_draws("edited", "forget", [0.3, 0.7], 100)
    assert (row.value, row.low, row.high) == drawn_interval([0.3, 0.7], 100)
    assert (row.n, row.cost, row.others) == (100, {"images": 1}, 20)


def test_a_row_is_a_share_with_its_wilson_interval() -> None:
    row = Trial("probe", "k = 4", "features", {"images": 4}).row("edited", "forget", torch.tensor([True, False] * 5))
    assert (row.value, row.n, (row.low, row.high)) == (0.5, 10, wilson_interval(5, 10))
    assert row.cost == {"images": 4}
