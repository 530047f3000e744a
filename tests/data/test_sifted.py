import warnings

import pytest

from efface.data.sifted import (
    PARTS,
    Duplicate,
    LeakError,
    Outlier,
    refuse_or_say,
    words_on_duplicates,
    words_on_outliers,
)
from efface.errors import EffaceWarning
from efface.sifting import Sifting
from efface.types import ForgetData


def pair(n: int, *, dropped: bool = False) -> Duplicate:
    return Duplicate(f"a{n}", "forget", f"b{n}", "val", exact=False, signs=3, cosine=0.97, dropped=dropped)


def test_parts_are_what_a_method_is_handed() -> None:
    assert set(PARTS) <= set(ForgetData.__dataclass_fields__)


def test_nothing_found_is_nothing_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refuse_or_say([], Sifting())
    assert list(words_on_outliers([])) == list(words_on_duplicates([])) == []


def test_a_refusal_counts_all_and_names_three() -> None:
    with pytest.raises(LeakError) as caught:
        refuse_or_say([pair(n) for n in range(5)], Sifting())
    assert str(caught.value) == (
        "5 near duplicates (a0 shows the picture of b0; a1 shows the picture of b1; a2 shows the picture of b2 and 2 "
        "more) to be judged on in 'val'"
    )
    assert len(caught.value.duplicates) == 5
    with pytest.warns(EffaceWarning, match="1 near duplicate .*: left out of what is worked on"):
        refuse_or_say([pair(0, dropped=True)], Sifting("drop"))


def test_outliers_are_named_with_what_was_done() -> None:
    strange = Outlier("a.png", "dog", 6.25, 4.5, dropped=True)
    (said,) = words_on_outliers([strange])
    assert said.endswith("a.png; left out")
    assert strange.words == "a.png: 6.2 standard deviations from the usual, the limit is 4.5"
