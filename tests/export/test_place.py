import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from efface.errors import InputError
from efface.export.place import beside, check_file, check_format, check_free, check_new, check_out, model_of


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    (tmp_path / "file").touch()
    for place in ("photos", "file"):
        with pytest.raises(InputError, match="is not a run folder and is not replaced"):
            check_out(tmp_path / place, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty", overwrite=True)


def test_the_working_folder_stands_beside_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert beside(Path("runs/dog.v1")) == Path("runs/dog.v1.partial")
    assert beside(Path(".")) == beside(Path("runs/..").resolve()) == tmp_path.with_name(f"{tmp_path.name}.partial")
    assert beside(Path("/")) == Path("/.partial")


def test_a_place_below_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "deep" / "run"
    for check in (partial(check_out, overwrite=False), partial(check_new, hint=""), check_free):
        with pytest.raises(InputError, match=r"cannot be made: .*file is a file"):
            check(place)


def test_a_place_is_checked_without_torch() -> None:
    code = "import efface.export.place, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_folder_may_be_there_and_empty(tmp_path: Path) -> None:
    check_free(tmp_path)
    check_free(tmp_path / "none")
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="exists"):
            check_free(place)


def test_of_a_run_folder_the_model_is_taken(tmp_path: Path) -> None:
    assert model_of("ViT-B-32:openai") == "ViT-B-32:openai"
    (tmp_path / "record.json").touch()
    assert model_of(str(tmp_path)) == str(tmp_path / "model")


def test_a_format_that_there_is_not_is_answered_with_the_nearest() -> None:
    check_format("transformers")
    with pytest.raises(InputError, match="there is no format 'openclip'") as caught:
        check_format("openclip")
    assert caught.value.hint == "did you mean open_clip?"


def test_a_file_takes_the_place_of_no_folder_and_has_the_suffix_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    (tmp_path / "record.json").touch()
    (tmp_path / "old.html").touch()
    for place, match in (
        (tmp_path / "page.html", "is a folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "record.json", r"does not end in \.html"),
        (tmp_path / "record.json" / "a.html", r"cannot be made: .*record.json is a file"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            check_file(place, option="--page", suffix=".html")
        assert "--page" in caught.value.hint
    check_file(tmp_path / "old.html", option="--page", suffix=".html")
    check_file(tmp_path / "deep" / "new.HTML", option="--page", suffix=".html")
