import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from efface.errors import InputError
from efface.export.place import check_file, check_format, check_free, check_new, check_out, model_of


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    (tmp_path / "file").touch()
    for place in ("photos", "file"):
        with pytest.raises(InputError, match="is not a run folder and is not replaced"):
            check_out(tmp_path / place, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty", overwrite=True)


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


def test_a_file_may_be_replaced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_file(tmp_path / "file")
    check_file(tmp_path / "new" / "file")
    for place in (tmp_path, Path(os.devnull)):
        with pytest.raises(InputError, match="is no file"):
            check_file(place)
    with pytest.raises(InputError, match="cannot be made"):
        check_file(tmp_path / "file" / "below")


def test_of_a_run_folder_the_model_is_taken(tmp_path: Path) -> None:
    assert model_of("ViT-B-32:openai") == "ViT-B-32:openai"
    (tmp_path / "record.json").touch()
    assert model_of(str(tmp_path)) == str(tmp_path / "model")


def test_a_format_that_there_is_not_is_answered_with_the_nearest() -> None:
    check_format("transformers")
    with pytest.raises(InputError, match="there is no format 'openclip'") as caught:
        check_format("openclip")
    assert caught.value.hint == "did you mean open_clip?"
