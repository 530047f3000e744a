import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.records.log import FIRST, entries, extended

LINES = [("a", "11" * 32), ("b", "22" * 32), ("a", "33" * 32)]


def log() -> str:
    text = ""
    for run, digest in LINES:
        text = extended(text, run, digest, "2026-01-31T12:00:00Z")
    return text


def test_lines_come_back_in_order_and_each_holds_on_to_the_one_before() -> None:
    found = entries(log())
    assert [(e.run, e.sha256) for e in found] == LINES
    assert found[0].previous == FIRST
    assert len({e.previous for e in found}) == 3


@pytest.mark.parametrize("line", [0, 1])
def test_a_line_that_is_taken_out_breaks_the_log(line: int) -> None:
    lines = log().splitlines(keepends=True)
    del lines[line]
    with pytest.raises(ValueError, match="does not follow"):
        entries("".join(lines))


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_changed_line_breaks_the_log_unless_it_is_the_last(at: int) -> None:
    text = log()
    until_last = len(text) - len(text.splitlines()[-1]) - 2
    at %= until_last
    changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
    with pytest.raises(ValueError, match=r"line [1234] "):
        entries(changed)


@pytest.mark.parametrize("text", ["hello\n", "{}\n", "[]\n", "\n", "[" * 100_000 + "\n"])
def test_what_is_no_log_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line 1 is no entry"):
        extended(text, "a", "11" * 32, "2026-01-31T12:00:00Z")


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\nb", "a\rb", "a\x1eb", "\u00e4"])
def test_a_folder_may_have_any_name(name: str) -> None:
    text = extended(extended("", name, "11" * 32, "2026-01-31T12:00:00Z"), name, "22" * 32, "2026-01-31T12:00:00Z")
    assert [entry.run for entry in entries(text)] == [name, name]


def test_a_line_has_one_form_and_an_end() -> None:
    assert entries("") == []
    with pytest.raises(ValueError, match="line 2 is not written in the canonical form"):
        entries(log().replace('"index":1,', '"index": 1,'))
    with pytest.raises(ValueError, match="line 3 does not end"):
        entries(log().rstrip("\n"))
    with pytest.raises(ValueError, match="line 1 is no entry"):
        entries(log().replace('"index":0', '"index":false'))
