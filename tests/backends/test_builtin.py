from pathlib import Path

import pytest
import torch

from efface import model_names
from efface.backends import load, save
from efface.errors import InputError
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models in place of the package's own."""
    folder = tmp_path / "builtin_models"
    monkeypatch.setattr(model_names, "builtin_root", lambda: folder)
    return folder


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_a_model_loads_by_its_name_in_either_format(root: Path, library: str) -> None:
    if library == "transformers":
        name = str(write_transformers(root / "symbols-vit"))
    else:
        name = f"local-dir:{write_open_clip(root / 'symbols-vit', VIT)}"
    clip, plain = load("builtin:symbols-vit"), load(name)
    assert clip.source == "builtin:symbols-vit"
    assert clip.library == library
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(clip.encoder.embed_image(images), plain.encoder.embed_image(images))


def test_a_saved_one_loads_by_its_folder(root: Path, tmp_path: Path) -> None:
    write_transformers(root / "symbols-vit")
    save(load("builtin:symbols-vit"), tmp_path / "out")
    assert load(tmp_path / "out").library == "transformers"


def test_an_unknown_name_is_answered_with_what_there_is(root: Path) -> None:
    for name in ("symbols-vit", "symbols-rn"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    (root / "no-model").mkdir()
    with pytest.raises(InputError, match="no model 'symbols-vti' comes with efface") as caught:
        load("builtin:symbols-vti")
    assert caught.value.hint == "did you mean symbols-vit or symbols-rn?"
    for name in ("", "no-model", "../builtin_models/symbols-vit", "symbols-vit/"):
        with pytest.raises(InputError, match="comes with efface"):
            load(f"builtin:{name}")


def test_without_models_there_are_none(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        load("builtin:symbols-vit")
    assert caught.value.hint == "there are none"
