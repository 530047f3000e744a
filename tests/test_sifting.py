import pytest

from efface.errors import InputError
from efface.sifting import Sifting


def test_a_way_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    asked = Sifting()
    # The checks of types that run in tests let no such value in by the front door.
    object.__setattr__(asked, "near_duplicates", "dorp")
    with pytest.raises(InputError, match="no way with near duplicates called 'dorp'") as caught:
        asked.__post_init__()
    assert "drop" in caught.value.hint
