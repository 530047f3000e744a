from pathlib import Path

import pytest

from efface.backends import load
from efface.errors import InputError
from efface.model_names import FORMS
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers


@pytest.mark.parametrize("source", ["ViT-B-32", "./nowhere", "/nowhere"])
def test_names_of_no_known_form_are_refused(source: str) -> None:
    with pytest.raises(InputError, match=f"'{source}' does not name a model that can be loaded") as caught:
        load(source)
    assert caught.value.hint == FORMS
    for form in ("the path of a folder", "org/repo", "NAME:TAG", "builtin:NAME"):
        assert form in FORMS


def test_a_run_folder_is_answered_with_its_model(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "one" / "model", VIT)
    write_transformers(tmp_path / "other" / "model")
    for name in ("one", "other"):
        with pytest.raises(InputError, match="does not name a model") as caught:
            load(tmp_path / name)
        assert caught.value.hint == f"write {tmp_path / name / 'model'}"


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no precision 'fp8'") as caught:
        load(f"local-dir:{tmp_path}", precision="fp8")
    assert caught.value.hint == "use fp32 or bf16"


@pytest.mark.parametrize("device", ["quantum", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"the device '{device}' cannot be used"):
        load(f"local-dir:{tmp_path}", device=device)
