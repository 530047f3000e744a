import pickle

import pytest

from efface.errors import EffaceError, InputError, NotFiniteError


@pytest.mark.parametrize("kind", [EffaceError, InputError, NotFiniteError])
def test_an_error_keeps_its_hint_through_a_pickle(kind: type[EffaceError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what was wrong", hint="what would be right")))
    assert type(error) is kind
    assert str(error) == "what was wrong"
    assert error.hint == "what would be right"
