import pickle

import pytest

from efface.errors import EffaceError, InputError, NotFiniteError, counted, is_text, offer


@pytest.mark.parametrize("kind", [EffaceError, InputError, NotFiniteError])
def test_an_error_keeps_its_hint_through_a_pickle(kind: type[EffaceError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what was wrong", hint="what would be right")))
    assert type(error) is kind
    assert str(error) == "what was wrong"
    assert error.hint == "what would be right"


def test_a_misspelt_name_is_answered_with_the_nearest_and_a_strange_one_with_all() -> None:
    assert offer("knigth", ("king", "knight")) == "did you mean knight or king?"
    assert offer("zebra", ("king", "knight")) == "there are king, knight"
    assert offer("zebra", ()) == "there are none"


def test_half_of_a_pair_is_no_text() -> None:
    assert is_text("犬 🐕")
    assert not is_text("a\udcff")


def test_one_is_not_many() -> None:
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
