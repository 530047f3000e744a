import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from efface.backends import load
from efface.backends.base import digest
from efface.backends.sources import card_of, plain_name, shown
from efface.errors import InputError
from tests.hub_cache import hub_of, lay_out, online
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub's client."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_folder_is_recognized_by_what_it_holds(tmp_path: Path) -> None:
    theirs, ours = write_open_clip(tmp_path / "a", VIT), write_transformers(tmp_path / "b")
    assert plain_name(str(theirs)) == f"local-dir:{theirs}"
    assert plain_name(str(ours)) == str(ours)
    # timm's configuration has the name of transformers'.
    for other in ('{"architecture": "vit_base_patch32_clip_224"}', '{"model_type": ["clip"]}'):
        (theirs / "config.json").write_text(other, encoding="utf-8")
        assert plain_name(str(theirs)) == f"local-dir:{theirs}"
    clip = load(theirs)
    assert (clip.library, clip.source) == ("open_clip", str(theirs))


def test_a_folder_in_both_formats_is_transformers_unless_local_dir_says_otherwise(tmp_path: Path) -> None:
    both = write_transformers(tmp_path / "b")
    for path in write_open_clip(tmp_path / "a", VIT).iterdir():
        shutil.copy(path, both)
    assert load(both).library == "transformers"
    clip = load(f"local-dir:{both}")
    assert (clip.library, clip.source) == ("open_clip", f"local-dir:{both}")


def test_other_names_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("local-dir:a/b", "ViT-B-32:openai", str(tmp_path / "none"), "clip.pt"):
        assert plain_name(name) == name
    assert plain_name(str(tmp_path)) == str(tmp_path)


def test_a_relative_folder_does_not_read_as_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_open_clip(tmp_path / "models" / "clip", VIT)
    monkeypatch.chdir(tmp_path)
    assert load("models/clip").source == shown("models/clip") == "./models/clip"
    assert shown("org/repo") == "org/repo"
    assert shown("local-dir:models/clip") == "local-dir:models/clip"


@pytest.mark.parametrize("kind", ["clip", "siglip", "open_clip"])
def test_a_model_in_the_cache_loads_offline_by_its_name(tmp_path: Path, cache: Path, kind: str) -> None:
    write = {"clip": write_transformers, "siglip": write_siglip, "open_clip": lambda path: write_open_clip(path, VIT)}
    folder = write[kind](tmp_path / "files")
    lay_out(cache, "org/repo", folder)
    clip = load("org/repo")
    assert clip.source == "org/repo"
    assert clip.library == ("open_clip" if kind == "open_clip" else "transformers")
    assert digest(clip.stored_state()) == digest(load(folder).stored_state())
    if kind == "open_clip":
        assert load("hf-hub:org/repo").source == "hf-hub:org/repo"
    else:
        with pytest.raises(InputError, match=r"holds no open_clip_config.json of a model 'org/repo'"):
            load("hf-hub:org/repo")


def test_of_a_model_in_both_formats_the_weights_of_the_one_that_is_meant_are_fetched(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = write_transformers(tmp_path / "b")
    theirs = write_open_clip(tmp_path / "a", VIT)
    for path in theirs.iterdir():
        shutil.copy(path, both)
    with hub_of({"org/repo": both}) as (address, sent):
        online(monkeypatch, address)
        assert load("org/repo").library == "transformers"
        assert {name for name in sent if name.endswith(".safetensors")} == {"model.safetensors"}
        clip = load("hf-hub:org/repo")
        assert "open_clip_model.safetensors" in sent
        assert digest(clip.stored_state()) == digest(load(theirs).stored_state())


def test_no_weights_of_another_type_of_model_are_fetched(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"model_type": "siglip2"}), encoding="utf-8")
    torch.save({}, tmp_path / "m" / "pytorch_model.bin")
    with hub_of({"org/naflex": tmp_path / "m"}) as (address, sent):
        online(monkeypatch, address)
        with pytest.raises(InputError, match="NaFlex"):
            load("org/naflex")
        assert sent == ["config.json"]


def test_the_card_of_a_model_lies_in_its_folder_or_beside_it_in_a_run(tmp_path: Path) -> None:
    model, other = tmp_path / "model", tmp_path / "other"
    for folder in (model, other):
        folder.mkdir()
    assert card_of(None) is card_of(model) is None
    (tmp_path / "README.md").touch()
    assert card_of(model) == tmp_path / "README.md"
    assert card_of(other) is None
    (model / "README.md").touch()
    assert card_of(model) == model / "README.md"
