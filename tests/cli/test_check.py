import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.verifying.runs import write_run_of
from tests.worlds import World


def test_a_descendant_is_checked_and_the_outcome_written_for_ci(
    clip: LoadedCLIP, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run_of(clip, world, tmp_path)
    asked = ["check", "--model", f"local-dir:{folder / 'model'}", "--against", str(folder), "--workers", "0"]
    assert run([*asked, "--junit", str(tmp_path / "junit.xml")]) == 0
    out, err = said(capsys)
    assert out == ""
    assert err.count("not back ") == 3
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"
    assert run([*asked, "--json"]) == 0
    assert json.loads(said(capsys)[0])["back"] is False
    assert run([*asked, "--junit", str(folder)]) == 2
    assert "is a folder" in said(capsys)[1]
    assert (folder / "record.json").is_file()
    assert run([*asked, "--junit", str(folder / "record.json")]) == 2
    assert "--junit a file that ends in .xml" in said(capsys)[1]
    assert run(["check", "--model", world.model, "--against", str(tmp_path)]) == 2
    assert "is not a run folder" in said(capsys)[1]
