import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from efface.data.sources import open_source
from tests.cli.asking import said
from tests.verifying.descendants import fine_tuned
from tests.verifying.runs import write_run_of, write_run_without_dogs
from tests.worlds import NAMES, World


def test_a_descendant_is_checked_and_the_outcome_written_for_ci(
    clip: LoadedCLIP, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run_of(clip, world, tmp_path)
    asked = ["check", "--model", f"local-dir:{folder / 'model'}", "--against", str(folder), "--workers", "0"]
    # Four images tell little: only a return of all of them could be noticed.
    assert run([*asked, "--junit", str(tmp_path / "junit.xml")]) == 2
    assert "4 images are too few" in said(capsys)[1]
    assert not (tmp_path / "junit.xml").exists()
    asked += ["--notice", "1"]
    assert run([*asked, "--junit", str(tmp_path / "junit.xml")]) == 0
    out, err = said(capsys)
    assert out == ""
    assert err.count("no return told  ") == 3
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"
    assert run([*asked, "--json"]) == 0
    assert json.loads(said(capsys)[0])["back"] is False
    # What an earlier check wrote does not stand for one that failed.
    assert run([*asked, "--eval", str(folder / "gone"), "--junit", str(tmp_path / "junit.xml")]) == 2
    said(capsys)
    assert not (tmp_path / "junit.xml").exists()
    assert run([*asked, "--junit", str(folder)]) == 2
    assert "is a folder" in said(capsys)[1]
    assert (folder / "record.json").is_file()
    assert run([*asked, "--junit", str(folder / "record.json")]) == 2
    assert "--junit a file that ends in .xml" in said(capsys)[1]
    assert run(["check", "--model", world.model, "--against", str(tmp_path)]) == 2
    assert "is not a run folder" in said(capsys)[1]


def test_a_class_that_came_back_fails_the_check_and_its_cases(
    clip: LoadedCLIP, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run_without_dogs(clip, world, tmp_path)
    images = open_source(world.data, preprocess=clip.preprocess).images
    model = fine_tuned(folder, images, NAMES, tmp_path / "again", steps=60)
    asked = ["check", "--model", model, "--against", str(folder), "--workers", "0", "--notice", "0.75"]
    assert run([*asked, "--junit", str(tmp_path / "junit.xml")]) == 1
    assert said(capsys)[1].count("back            ") == 2
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert [len(root.findall(f".//{tag}")) for tag in ("failure", "skipped", "testcase")] == [2, 0, 3]
    assert {found.get("message") for found in root.iter("failure")} == {"dog is back"}
