import pytest
import torch

from efface.attacks.plain import LIKENESS, Plain
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of, check_own, edited_of, three_of, value

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


def test_every_row_is_of_its_own_model(clip: LoadedCLIP) -> None:
    rows = Plain().run(asked_of(clip, models=three_of(clip)), rng=RNG, reporter=Silent())
    check_own(rows)
    assert {row.n for row in rows} == {4}


def test_beside_the_edited_model_stands_what_a_name_that_was_never_learned_finds_in_it(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    rows = Plain().run(asked, rng=RNG, reporter=Silent())
    own = asked.features("edited", "held_out", "final")[asked.labels("held_out") == 1]
    expected = ((own @ asked.unnamed("edited").T).argmax(dim=1) == 1).double().mean()
    assert value(rows, model="unknown", setting="by its name") == expected


def test_likeness_tells_which_part_of_the_image_tower_changed(clip: LoadedCLIP) -> None:
    def like(edited: LoadedCLIP) -> tuple[float, float]:
        rows = Plain().run(asked_of(clip, edited), rng=RNG, reporter=Silent())
        before, after = (value(rows, model="edited", role="forget", setting=s) for _, s in LIKENESS)
        return before, after

    assert like(clip.copy()) == pytest.approx((1, 1))
    mapped = clip.copy()
    size = mapped.encoder.encode_text(mapped.tokenize(["a dog"])).shape[1]
    mapped.encoder.fold_image_map_(torch.randn(size, size, generator=RNG, dtype=torch.float64))
    before, after = like(mapped)
    assert before == pytest.approx(1)
    assert after < 0.9
    assert like(edited_of(clip))[0] < 0.99
