import shutil
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.verifying.runs import write_run_of
from tests.worlds import World


@pytest.fixture
def folder(clip: LoadedCLIP, world: World, tmp_path: Path) -> Path:
    return write_run_of(clip, world, tmp_path)


def test_the_page_is_made_again_from_the_folder_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "report.html"
    first = page.read_text(encoding="utf-8")
    assert "data:image/webp;base64," in first
    page.unlink()
    assert run(["report", str(folder)]) == 0
    assert said(capsys)[0] == f"{page}\n"
    assert page.read_text(encoding="utf-8") == first
    assert run(["verify", str(folder)]) == 0


def test_two_runs_stand_on_one_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(folder), "--against", str(folder)]) == 0
    assert said(capsys)[0] == f"{folder / 'against-run.html'}\n"
    again = shutil.copytree(folder, tmp_path / "again" / "run")
    assert run(["report", str(folder), "--against", str(again)]) == 0
    page = folder / "against-again-run.html"
    assert said(capsys)[0] == f"{page}\n"
    assert f"<h1><bdi>{tmp_path.name}/run</bdi> and <bdi>again/run</bdi></h1>" in page.read_text(encoding="utf-8")
    assert run(["report", str(folder), "--against", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    assert "<h1><bdi>run</bdi> and <bdi>run</bdi></h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_takes_the_place_of_no_folder_and_of_no_file_of_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years", encoding="utf-8")
    record = (folder / "record.json").read_bytes()
    for place in (tmp_path / "precious", folder, folder / "record.json"):
        assert run(["report", str(folder), "--out", str(place)]) == 2
        assert "--out a file that ends in .html" in said(capsys)[1]
    assert (tmp_path / "precious" / "thesis.txt").read_text(encoding="utf-8") == "years"
    assert (folder / "record.json").read_bytes() == record


@pytest.mark.parametrize("damage", ["small", "columns", "junk"])
def test_a_sheet_of_pictures_that_is_another_one_is_refused(
    folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = folder / "retrieved.png"
    if damage == "junk":
        sheet.write_bytes(b"junk")
    else:
        said_of_it = PngInfo()
        said_of_it.add_text("efface.columns", "8" if damage == "small" else "none")
        Image.new("RGB", (10, 10)).save(sheet, pnginfo=said_of_it)
    before = (folder / "report.html").read_bytes()
    assert run(["report", str(folder)]) == 2
    assert "efface verify says which files" in said(capsys)[1]
    assert (folder / "report.html").read_bytes() == before


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path)]) == 2
    assert "is not a run folder" in said(capsys)[1]
