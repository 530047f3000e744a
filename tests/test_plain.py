import json

from hypothesis import given
from hypothesis import strategies as st

from efface.plain import differences, plain, plain_text

DOCUMENTS = st.recursive(
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.tuples(st.booleans(), st.none())),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(DOCUMENTS)
def test_a_document_that_is_read_back_differs_in_nothing(document: dict[str, object]) -> None:
    assert list(differences(plain(document), json.loads(plain_text(document)))) == []
    backwards = dict(reversed(document.items()))
    assert plain_text(backwards) == plain_text(document)


def test_every_value_that_differs_or_lacks_is_named_in_order() -> None:
    left = {"b": 1, "a": {"x": [1, 2], "y": 2, "same": (1,)}, "only": None, "left": 0}
    right = {"b": 2, "a": {"x": [2, 1], "same": [1]}, "right": {}}
    assert list(differences(plain(left), plain(right))) == ["a.x", "a.y", "b", "left", "right"]
