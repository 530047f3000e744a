from pathlib import Path

import pytest

from efface.paths import path_of


def test_the_home_is_written_out_and_that_of_nobody_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~") == tmp_path
    assert path_of("~/a/b.pt") == path_of(Path("~/a/b.pt")) == tmp_path / "a/b.pt"
    assert path_of("a/~/b") == Path("a/~/b")
    assert path_of("~no-such-user/a") == Path("~no-such-user/a")
