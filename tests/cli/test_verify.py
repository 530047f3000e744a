import json
import shutil
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.keys import write_keys
from tests.verifying.runs import write_run_of
from tests.worlds import World


@pytest.fixture(scope="module")
def folder(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_of(clip, world, tmp_path_factory.mktemp("verified"))


def test_a_run_that_holds_is_exit_code_0_and_says_what_was_looked_at(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(folder), "--rerun", "--workers", "0"]) == 0
    out, err = said(capsys)
    assert out == ""
    lines = [line.split()[:2] for line in err.splitlines()]
    assert ["passed", "WEIGHTS"] in lines
    assert ["skipped", "SIGNATURE"] in lines
    assert "the record says: " in err


def test_one_that_does_not_is_exit_code_1_with_codes_for_programs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography")
    assert run(["verify", str(folder), "--key", str(write_keys(tmp_path)[1]), "--json"]) == 1
    found = json.loads(said(capsys)[0])
    assert (found["ok"], found["failed"]) == (False, ["SIGNATURE"])


def test_what_cannot_be_looked_at_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(tmp_path)]) == 2
    lines = said(capsys)[1].splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert "is not a run folder" in lines[0]


def test_what_a_record_says_is_no_line_of_ours(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    record = json.loads((copy / "record.json").read_text())
    target = record["target"]
    text = (copy / "record.json").read_text().replace(json.dumps(target), json.dumps(f"{target}\n\x1b[2Kpassed   KEY"))
    (copy / "record.json").write_text(text)
    assert run(["verify", str(copy), "--workers", "0"]) == 1
    _, err = said(capsys)
    assert "\x1b" not in err
    assert not any(line.startswith("passed   KEY") for line in err.splitlines())
