from pathlib import Path

import pytest

from efface.errors import EffaceWarning
from efface.export.folder import Pictures, read_run, write_run
from efface.export.log import log_problems, note_run
from efface.records.log import entries
from tests.report.sample_record import sample


def write(folder: Path, *, seed: int, overwrite: bool = False) -> Path:
    return write_run(folder, sample(seed=seed), None, Pictures(), overwrite=overwrite)


def test_the_second_run_of_a_folder_begins_a_log_of_both(tmp_path: Path) -> None:
    one = write(tmp_path / "one", seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    two = write(tmp_path / "two", seed=2)
    replaced = read_run(one).sha256
    write(one, seed=3, overwrite=True)
    found = entries((tmp_path / "runs.jsonl").read_text())
    digests = [replaced, read_run(two).sha256, read_run(one).sha256]
    assert [(e.run, e.sha256) for e in found] == list(zip(["one", "two", "one"], digests, strict=True))
    assert log_problems(one, read_run(one)) == log_problems(two, read_run(two)) == []


def test_another_record_or_a_broken_log_is_said_of_the_run(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", seed=1), write(tmp_path / "two", seed=2)
    assert "has a record with the sha256" in log_problems(one, read_run(two))[0]
    log = tmp_path / "runs.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[1])
    assert "is broken: line 1 does not follow" in log_problems(one, read_run(one))[0]
    with pytest.warns(EffaceWarning, match="is broken, and .* was not added"):
        write(tmp_path / "three", seed=3)
    assert log.read_text() == lines[1]


def test_a_log_of_bytes_or_on_a_full_disk_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        write(tmp_path / name, seed=seed)
    log = tmp_path / "runs.jsonl"
    before = log.read_bytes()

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("efface.export.log.written_whole", full)
        with pytest.warns(EffaceWarning, match="cannot be written, and .*three was not added: .*No space left"):
            write(tmp_path / "three", seed=3)
    assert log.read_bytes() == before
    log.write_bytes(b"\xff\xfe")
    with pytest.warns(EffaceWarning, match="is broken, and .*four was not added"):
        write(tmp_path / "four", seed=4)
    assert log.read_bytes() == b"\xff\xfe"
    assert "is broken" in log_problems(tmp_path / "one", read_run(tmp_path / "one"))[0]


def test_a_run_that_lies_elsewhere_is_not_judged_by_a_log(tmp_path: Path) -> None:
    one = write(tmp_path / "one", seed=1)
    write(tmp_path / "two", seed=2)
    moved = one.rename(tmp_path / "moved")
    assert log_problems(moved, read_run(moved)) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"hello", b"hello\n"])
def test_a_run_is_not_lost_where_the_log_is_broken(tmp_path: Path, content: bytes) -> None:
    one = write(tmp_path / "one", seed=1)
    (tmp_path / "runs.jsonl").write_bytes(content)
    with pytest.warns(EffaceWarning, match="is broken, and .* was not added"):
        two = write(tmp_path / "two", seed=2)
    assert read_run(two).seed == 2
    assert (tmp_path / "runs.jsonl").read_bytes() == content
    assert "is broken" in log_problems(one, read_run(one))[0]


def test_a_disk_that_is_full_keeps_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", seed=1)
    write(tmp_path / "two", seed=2)
    before = (tmp_path / "runs.jsonl").read_bytes()

    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.warns(EffaceWarning, match="No space left on device"):
            write(tmp_path / "three", seed=3)
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    assert read_run(tmp_path / "three").seed == 3


def test_two_runs_that_begin_a_log_at_once_stand_in_it_once_each(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    (tmp_path / "runs.jsonl").unlink()
    for folder in (one, two):  # each has found the other before it came to the lock
        note_run(folder, read_run(folder))
    found = entries((tmp_path / "runs.jsonl").read_text())
    assert sorted(entry.run for entry in found) == ["one", "two"]
