import pickle

import pytest

from efface.errors import EffaceError, InputError, NotFiniteError, offer


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
