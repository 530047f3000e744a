import json
import math
import struct
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.records.canonical import canonical, sha256

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)

# RFC 8785, appendix B: the bits of a double, and how it is written.
SAMPLES = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "written"), SAMPLES)
def test_numbers_are_written_as_the_standard_lists_them(bits: str, written: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == written.encode()


def test_names_are_sorted_by_their_utf_16_code_units() -> None:
    # U+1F600 is D83D DE00 in UTF-16 and so comes before U+FB33, although its code point is the higher.
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'.encode()


def test_strings_are_escaped_only_where_they_must_be() -> None:
    text = '\u20ac$\u000f\n"\\\x7f/\u2028'
    assert canonical([text]) == '["\u20ac$\\u000f\\n\\"\\\\\x7f/\u2028"]'.encode()


@given(DOCUMENTS)
def test_the_form_is_json_and_holds_the_document(document: Any) -> None:
    # Numbers are doubles here: one of 10**17 is written as an integer is.
    assert json.loads(canonical(document), parse_int=float) == json.loads(json.dumps(document), parse_int=float)


@given(st.dictionaries(st.text(), SCALARS))
def test_the_order_of_names_does_not_matter(document: dict[str, Any]) -> None:
    assert sha256(document) == sha256(dict(reversed(document.items())))


@given(st.integers(min_value=0, max_value=2**53))
def test_a_whole_number_is_the_same_as_an_integer_and_as_a_double(value: int) -> None:
    assert canonical(value) == canonical(float(value)) or value > 10**21


def test_a_large_seed_is_written_in_full() -> None:
    assert canonical(2**63 - 1) == b"9223372036854775807"


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800"])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"no form|surrogates"):
        canonical(value)


def test_numbers_of_other_types_are_written_as_numbers() -> None:
    assert canonical([np.float64(0.5), np.float64(-1e-7), IntEnum("Level", ["LOW"]).LOW]) == b"[0.5,-1e-7,1]"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), {1: 2}, {None: 2}, [{"a": {"b": 1, 3: 2}}]])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no form"):
        canonical(value)
