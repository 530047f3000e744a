import pytest
import torch

from efface.attacks.plain import Plain
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of, value

RNG = torch.Generator()


def test_accuracy_and_place_are_those_of_the_classes_own_texts(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    rows = Plain().run(asked, rng=RNG, reporter=Silent())
    cosines = asked.features("edited", "held_out", "final") @ asked.texts("edited").T
    for role, label in asked.roles:
        near = cosines[asked.labels("held_out") == label]
        expected = sum(int(row.argmax()) == label for row in near) / 4
        assert value(rows, model="edited", role=role, setting="by its name") == expected
        farther = [sum(cosine < row[label] for cosine in row) / 2 for row in near]
        found = value(rows, model="edited", role=role, setting="place of its text")
        assert found == pytest.approx(float(sum(farther)) / 4)


def test_models_without_a_difference_have_none_in_their_rows(clip: LoadedCLIP) -> None:
    rows = Plain().run(asked_of(clip), rng=RNG, reporter=Silent())
    of = {model: [(r.setting, r.role, r.value) for r in rows if r.model == model] for model in ("reference", "edited")}
    assert of["reference"] == of["edited"]
    assert {row.n for row in rows} == {4}
