import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from efface.errors import InputError
from efface.verifying.sign import sign_run
from tests.keys import write_keys
from tests.verifying.runs import flip, record_of, write_record

pytest.importorskip("cryptography")


def test_signing_changes_the_signature_and_nothing_else(run: Path, tmp_path: Path) -> None:
    before = record_of(run)
    sign_run(run, write_keys(tmp_path)[0], valid_until=datetime(2100, 1, 1, tzinfo=UTC))
    after = record_of(run)
    assert after["signature"]["valid_until"] == "2100-01-01T00:00:00Z"
    assert after | {"signature": None} == before
    assert [p.name for p in run.iterdir() if "partial" in p.name] == []


def test_a_record_that_was_changed_is_not_signed(run: Path, tmp_path: Path) -> None:
    write_record(run, record_of(run) | {"seed": 99}, sealed=False)
    with pytest.raises(InputError, match="was changed after it was written"):
        sign_run(run, write_keys(tmp_path)[0])
    write_record(run, record_of(run) | {"schema": "other"}, sealed=True)
    with pytest.raises(InputError, match="its schema is 'other'"):
        sign_run(run, write_keys(tmp_path)[0])
    assert json.loads((run / "record.json").read_text())["signature"] is None


def test_an_end_that_has_passed_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would end at 2020-01-01T00:00:00Z, which has passed"):
        sign_run(run, write_keys(tmp_path)[0], valid_until=datetime(2020, 1, 1, tzinfo=UTC))


def test_an_end_without_a_time_zone_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2100-01-01 00:00:00 has no time zone"):
        sign_run(run, write_keys(tmp_path)[0], valid_until=datetime(2100, 1, 1))


@pytest.mark.parametrize("name", ["model/open_clip_model.safetensors", "results/scores.csv", "retrieved.png"])
def test_a_run_whose_files_differ_is_not_signed(run: Path, tmp_path: Path, name: str) -> None:
    flip(run / name, -3)
    with pytest.raises(InputError, match=f"is not as it was written: {name} has the sha256"):
        sign_run(run, write_keys(tmp_path)[0])
    assert record_of(run)["signature"] is None
