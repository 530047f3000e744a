import pytest

from efface.beside import Beside
from efface.errors import InputError
from efface.request import ClassTarget, ForgetRequest

TARGETS = (ClassTarget("cat", ("tabby",)), ClassTarget("dog"))
NAMES = ("cat", "dog", "fox")


def test_what_is_given_is_listed_by_what_for() -> None:
    assert Beside(retain="a", pool="b").sources == {"retain": "a", "pool": "b"}
    assert Beside().sources == {}


def test_a_kind_needs_images_of_it() -> None:
    with pytest.raises(InputError, match=r"images of one kind are to be forgotten.*and none are given") as caught:
        ForgetRequest(TARGETS, NAMES, beside=Beside({"color": "red"}))
    assert "--eval-where" in caught.value.hint


def test_images_of_a_kind_of_several_classes_are_each_to_lose_their_own() -> None:
    kind = Beside({"color": "red"})
    # The alias stands behind the three classes, and means the cat.
    assert ForgetRequest(TARGETS, NAMES, images="x", beside=kind).groups == ((0, 3), (1,))
    assert ForgetRequest(TARGETS, NAMES, images="x").groups is None
    assert ForgetRequest(TARGETS[:1], NAMES, images="x", beside=kind).groups is None
