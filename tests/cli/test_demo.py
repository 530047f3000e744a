import json
from pathlib import Path

import pytest
from PIL import Image

from efface.cli import run
from tests.cli.asking import said


def test_the_demo_writes_a_run_and_prints_one_table_with_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    # Of the pictures only their classes matter here.
    for row, name in enumerate(["knight", "anchor", "king"] * 2):
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 20 + row).convert("RGB").save(tmp_path / "pictures" / name / f"{row}.png")
    monkeypatch.setattr("efface.demo.DATA", (str(tmp_path / "pictures"),))
    folder = Path("runs/demo-rn-knight-projection-0")
    assert run(["demo", "--tower", "rn"]) == 0
    out, err = said(capsys)
    assert out == f"{folder}\n"
    assert err.count("top-1 accuracy in percent") == 1
    heading = next(line for line in err.splitlines() if "before" in line)
    assert heading.index("before") < heading.index("after") < heading.index("gold")
    assert f"page: {folder.absolute() / 'report.html'}" in err
    names = {"model", "record.json", "results", "report.html", "README.md", "retrieved.png", "gold.json"}
    assert {path.name for path in folder.iterdir()} == names
    gold = json.loads((folder / "gold.json").read_text(encoding="utf-8"))
    assert gold["model"] == "builtin:symbols-rn-without-knight"
    # A folder that was named is not replaced unless that is asked for.
    named = ["demo", "--tower", "rn", "--class", "anchor", "--out", str(folder), "--json"]
    assert run(named) == 2
    assert "exists" in said(capsys)[1]
    assert run([*named, "--overwrite"]) == 0
    out, err = said(capsys)
    assert json.loads(out)["target"] == "anchor"
    assert "no gold model was trained without 'anchor'" in err
    assert not (folder / "gold.json").exists()


def test_a_wrong_tower_is_an_error_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--tower", "resnet"]) == 2
    assert said(capsys)[1].splitlines() == ["error: there is no tower 'resnet'", "hint: there are vit, rn"]


def test_a_folder_that_is_no_run_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters.txt").write_text("mine", encoding="utf-8")
    assert run(["demo", "--out", str(tmp_path), "--overwrite"]) == 2
    assert (tmp_path / "letters.txt").read_text(encoding="utf-8") == "mine"
    assert "error:" in said(capsys)[1]
