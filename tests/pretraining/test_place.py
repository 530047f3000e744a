from pathlib import Path

import pytest

from efface.errors import InputError
from efface.pretraining.place import CHECKPOINTS, RECIPE, check_place, stored_recipe


def _begun(folder: Path) -> Path:
    (folder / CHECKPOINTS).mkdir(parents=True)
    (folder / RECIPE).write_text("[training]\nsteps = 3\n", encoding="utf-8")
    return folder


def test_a_new_or_an_empty_folder_may_be_written(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "b", resume=False, overwrite=False)
    check_place(tmp_path / "a" / "b", resume=True, overwrite=False)
    check_place(tmp_path, resume=True, overwrite=False)


def test_a_pre_training_is_gone_on_with_or_replaced_when_that_is_asked_for(tmp_path: Path) -> None:
    out = _begun(tmp_path / "run")
    check_place(out, resume=True, overwrite=False)
    check_place(out, resume=False, overwrite=True)
    with pytest.raises(InputError, match="exists") as caught:
        check_place(out, resume=False, overwrite=False)
    assert "--resume" in caught.value.hint
    with pytest.raises(InputError, match="at once"):
        check_place(out, resume=True, overwrite=True)
    assert stored_recipe(out) == {"training": {"steps": 3}}


def test_what_is_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x", encoding="utf-8")
    for place in (tmp_path / "mine", tmp_path / "mine" / "letter.txt"):
        with pytest.raises(InputError, match="is not the folder of a pre-training"):
            check_place(place, resume=False, overwrite=True)
    with pytest.raises(InputError, match="is a file"):
        check_place(tmp_path / "mine" / "letter.txt" / "out", resume=False, overwrite=False)
