import json
import shutil
from pathlib import Path

import pytest

from efface.cli import run
from tests.cli.asking import forget, said
from tests.worlds import World


def test_evaluate_gives_the_scores_of_the_run(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(forget(world, tmp_path / "run", "--method", "projection", "--json"))
    record = json.loads(said(capsys)[0])
    edited = f"local-dir:{tmp_path / 'run' / 'model'}"
    asked = ["evaluate", edited, "--eval", world.data, "--class", "dog", "--workers", "0", "--json"]
    assert run([*asked, "--against", world.model]) == 0
    both = json.loads(said(capsys)[0])
    assert both["scores"] == record["scores"]
    assert both["classes"] == record["classes"]
    assert run(asked) == 0
    alone = json.loads(said(capsys)[0])
    assert alone["scores"]["before"] == []
    assert alone["scores"]["after"] == [s for s in record["scores"]["after"] if s["towers"] == "both"]


def test_skipped_images_are_warned_of_and_counted_below_the_table(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = shutil.copytree(world.data, tmp_path / "pictures")
    (pictures / "cat" / "1.png").write_bytes(b"broken")
    asked = ["evaluate", world.model, "--eval", str(pictures), "--workers", "0"]
    assert run(asked) == 2
    assert "the image 'cat/1.png'" in said(capsys)[1]
    assert run([*asked, "--on-bad-image", "skip"]) == 0
    err = said(capsys)[1]
    assert "warning: 1 of the 12 images of" in err
    assert "left out, as they cannot be decoded: 1 of pictures" in " ".join(err.split())
    assert run([*asked, "--on-bad-image", "skp"]) == 2
    assert "skp" in said(capsys)[1]


@pytest.mark.parametrize(
    ("more", "error", "hint"),
    [
        (["--eval", "csv:none.csv"], "'none.csv' does not exist", "give a parquet file"),
        (["--eval", "symbols:test", "--where", "color"], "'color' is not of the form", "write --where COLUMN=VALUE"),
        (["--eval", "symbols:test", "--where", "color=a", "--where", "color=b"], "is given twice", "give it once"),
        (["--eval", "symbols:test", "--where", "color=purpel"], "there is no color 'purpel'", "did you mean purple?"),
    ],
)
def test_bad_input_is_one_error_and_one_hint(
    world: World, capsys: pytest.CaptureFixture[str], more: list[str], error: str, hint: str
) -> None:
    assert run(["evaluate", world.model, *more]) == 2
    first, second = said(capsys)[1].strip().splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith(f"hint: {hint}")


def test_a_group_of_the_world_is_chosen_by_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["evaluate", "builtin:symbols-rn", "--eval", "symbols:validation", "--workers", "0", "--json"]
    assert run([*asked, "--where", "member=knight", "--where", "color=red"]) == 0
    found = json.loads(said(capsys)[0])
    assert found["data"][0]["where"] == {"member": "knight", "color": "red"}
    assert 0 < found["data"][0]["n"] < 60
    assert [row["name"] for row in found["classes"]["after"]] == ["knight"]


def test_scores_are_written_for_other_programs(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", world.model, "--eval", world.data, "--workers", "0", "--out", str(tmp_path / "out")]
    assert run(asked) == 0
    assert said(capsys)[0] == f"{tmp_path / 'out'}\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0-pictures-after.json", "scores.csv"}
    assert run(asked) == 2
    assert "exists" in said(capsys)[1]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_scores_are_said_even_where_they_cannot_be_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    def full(folder: Path, found: object) -> None:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr("efface.export.results.write_results", full)
    asked = ["evaluate", world.model, "--eval", world.data, "--workers", "0", "--out", str(tmp_path / "out"), *more]
    assert run(asked) == 2
    out, err = said(capsys)
    assert "No space left on device" in err
    assert json.loads(out)["scores"]["after"] if more else "top-1 accuracy" in err


def test_a_place_below_a_file_is_refused_before_the_work(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["evaluate", "no-such-model", "--eval", world.data, "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be made" in said(capsys)[1]
