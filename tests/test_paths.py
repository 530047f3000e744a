from pathlib import Path

import pytest

from efface.paths import named, path_of


def test_the_home_is_written_out_and_that_of_nobody_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~") == tmp_path
    assert path_of("~/a/b.pt") == path_of(Path("~/a/b.pt")) == tmp_path / "a/b.pt"
    assert path_of("a/~/b") == Path("a/~/b")
    assert path_of("~no-such-user/a") == Path("~no-such-user/a")


def test_a_path_that_ends_in_dots_gets_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path / "a")
    assert named(Path(".")) == tmp_path / "a"
    assert named(Path("b/..")) == tmp_path / "a"
    # As the system sees it, and not by the letters.
    assert named(Path("../link/..")) == tmp_path / "a"
    assert named(Path("../link")) == Path("../link")
    assert named(Path("/")) == Path("/")
