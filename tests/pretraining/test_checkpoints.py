from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.errors import InputError
from efface.pretraining.checkpoints import Log, check_same, last_checkpoint, save_checkpoint


def test_the_last_two_are_kept_and_the_last_is_read(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    for step in (9, 10, 100):
        save_checkpoint(tmp_path / "c", step, {"step": step, "weights": torch.full((2,), float(step))})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-00000010.pt", "step-00000100.pt"]
    found = last_checkpoint(tmp_path / "c")
    assert found is not None
    assert found["step"] == 100
    assert found["weights"].tolist() == [100.0, 100.0]


def test_one_that_was_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1})
    (tmp_path / "step-00000002.partial").write_bytes(b"half")
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found["step"] == 1
    (tmp_path / "step-00000003.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read") as caught:
        last_checkpoint(tmp_path)
    assert "the one before" in caught.value.hint


def test_every_value_that_differs_is_named(tmp_path: Path) -> None:
    check_same({"a": {"b": 1}}, {"a": {"b": 1}}, tmp_path)
    with pytest.raises(InputError, match=r"begun with: a\.b, c differ$"):
        check_same({"a": {"b": 1, "d": 0}, "c": 2}, {"a": {"b": 2, "d": 0}}, tmp_path)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 9))
def test_a_log_is_cut_after_a_step(tmp_path_factory: pytest.TempPathFactory, steps: list[int], last: int) -> None:
    log = Log(tmp_path_factory.mktemp("log") / "log.jsonl")
    for step in steps:
        log.write({"step": step, "data": "ü"})
    log.cut(last)
    assert log.lines() == [{"step": step, "data": "ü"} for step in steps if step <= last]


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.write({"step": 1})
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "lo')
    log.cut(5)
    log.write({"step": 2})
    assert log.lines() == [{"step": 1}, {"step": 2}]
