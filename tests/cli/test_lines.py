import warnings

import pytest

from efface.cli.lines import line, say, visible, warn
from efface.errors import EffaceWarning
from tests.cli.asking import said


def test_a_message_is_one_line_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say("word " * 200, "one\n two")
    out, err = said(capsys)
    assert out == ""
    assert err == f"error: {'word ' * 199}word\nhint: one two\n"


def test_a_message_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    line("error", "[bold]x[/bold]")
    assert said(capsys)[1] == "error: [bold]x[/bold]\n"


def test_a_warning_of_others_says_its_kind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", warn)
        warnings.warn("ours", EffaceWarning, stacklevel=1)
        warnings.warn("theirs", RuntimeWarning, stacklevel=1)
    assert said(capsys)[1] == "warning: ours\nwarning: RuntimeWarning: theirs\n"


def test_a_text_of_others_moves_no_cursor_and_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert visible("dog\npassed \x1b[2K\x9b1A\u202e\u2028") == "dog\\npassed \\x1b[2K\\x9b1A\\u202e\\u2028"
    assert visible("大帛斑蝶 été \\ '[b]'") == "大帛斑蝶 été \\ '[b]'"
    line("error", "no\x1b[31m\nred")
    assert said(capsys)[1] == "error: no\\x1b[31m red\n"
