import pytest
import torch

from efface.attacks.base import Asked
from efface.auditing.asking import Wanted, ask
from efface.auditing.gold import check_gold
from efface.backends.base import LoadedCLIP
from efface.errors import InputError
from efface.request import ClassTarget
from tests.attacks.asking import edited_of
from tests.evaluation.test_features import data_of


def checked(clip: LoadedCLIP, **models: LoadedCLIP) -> None:
    given = {"reference": clip, "edited": edited_of(clip)} | models
    check_gold(*ask(given, ClassTarget("dog"), data_of(60), ("a photo of a {}.",), Wanted()))


def test_gold_that_is_one_of_the_others_is_refused(clip: LoadedCLIP) -> None:
    checked(clip)
    with pytest.raises(InputError, match="gold is the original itself") as caught:
        checked(clip, gold=clip.copy())
    assert "trained without 'dog', or leave --gold out" in caught.value.hint
    with pytest.raises(InputError, match="gold is the edited model itself"):
        checked(clip, gold=edited_of(clip))


def test_gold_that_finds_the_class_by_its_name_is_refused(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    def classes(asked: Asked, found: bool) -> torch.Tensor:
        """Texts of which that of the class is nearest to all images of it, or to none."""
        own = asked.features("gold", "held_out", "final")[asked.labels("held_out") == asked.own]
        direction = own.mean(dim=0)
        return torch.stack([direction if (name == asked.name) == found else -direction for name in asked.among])

    def answers(by_name: bool, by_none: bool) -> None:
        monkeypatch.setattr(Asked, "texts", lambda self, model, templates=None: classes(self, by_name))
        monkeypatch.setattr(Asked, "unnamed", lambda self, model, templates=None: classes(self, by_none))

    other = edited_of(clip, 0.2)
    # Images that no text claims are found by any name: that is no knowledge.
    for by_name, by_none in ((False, False), (True, True), (False, True)):
        answers(by_name, by_none)
        checked(clip, gold=other)
    answers(True, False)
    with pytest.raises(InputError, match=r"knows .dog.: by that name it has 100\.0% of 10 images right"):
        checked(clip, gold=other)
