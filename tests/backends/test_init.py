from pathlib import Path

import pytest

from efface.backends import FORMS, load
from efface.errors import InputError
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("openai/clip-vit-base-patch32", "'openai/clip-vit-base-patch32' does not name a model that can be loaded"),
        ("ViT-B-32", "'ViT-B-32' does not name a model"),
    ],
)
def test_names_of_no_known_form_are_refused(source: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        load(source)
    assert caught.value.hint == FORMS
    for form in ("local-dir:FOLDER", "NAME:TAG", "a folder in transformers' format", "builtin:NAME"):
        assert form in FORMS


def test_a_plain_folder_in_open_clips_format_is_answered_with_its_prefix(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "clip", VIT)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert caught.value.hint == f"write local-dir:{folder}"
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert caught.value.hint == FORMS


def test_a_run_folder_is_answered_with_its_model(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "one" / "model", VIT)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "one")
    assert caught.value.hint == f"write local-dir:{tmp_path / 'one' / 'model'}"
    write_transformers(tmp_path / "other" / "model")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "other")
    assert caught.value.hint == f"write {tmp_path / 'other' / 'model'}"


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no precision 'fp8'") as caught:
        load(f"local-dir:{tmp_path}", precision="fp8")
    assert caught.value.hint == "use fp32 or bf16"


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"the device '{device}' cannot be used"):
        load(f"local-dir:{tmp_path}", device=device)
