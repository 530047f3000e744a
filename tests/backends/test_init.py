from pathlib import Path

import pytest

from efface.backends import load
from efface.errors import InputError


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
    assert caught.value.hint == "write local-dir:FOLDER in open_clip's format, or NAME:TAG such as ViT-B-32:openai"


def test_a_plain_folder_is_answered_with_its_prefix(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(str(tmp_path))
    assert caught.value.hint == f"write local-dir:{tmp_path}"


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no precision 'fp8'") as caught:
        load(f"local-dir:{tmp_path}", precision="fp8")
    assert caught.value.hint == "use fp32 or bf16"


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"the device '{device}' cannot be used"):
        load(f"local-dir:{tmp_path}", device=device)
