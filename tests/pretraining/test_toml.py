import tomllib

from hypothesis import given
from hypothesis import strategies as st

from efface.pretraining.toml import to_toml

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts, st.lists(st.integers(0, 9))
)
trees = st.recursive(
    st.dictionaries(texts, values), lambda inner: st.dictionaries(texts, st.one_of(values, inner)), max_leaves=8
)


@given(trees)
def test_what_is_written_reads_back_equal(tree: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(tree)) == tree


def test_none_is_left_out_and_tables_may_stand_in_lists() -> None:
    assert tomllib.loads(to_toml({"a": None, "b": [{"c d": 1, "e": "x"}]})) == {"b": [{"c d": 1, "e": "x"}]}
