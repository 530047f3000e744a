import json
from pathlib import Path
from typing import Any

import pytest

from efface.backends import load, transformers_config
from efface.backends.transformers_config import read_config
from efface.errors import InputError
from tests.tiny_transformers import write_siglip, write_transformers


def folder_with(tmp_path: Path, **config: Any) -> Path:
    """A folder with a configuration, and a tokenizer that nothing opens."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "text"), [("{", "is not JSON"), ("{}", "has no 'model_type'"), ("[]", "holds no JSON object")]
)
def test_a_broken_configuration_is_named(tmp_path: Path, config: str, text: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=text):
        load(tmp_path)


def test_parts_of_a_configuration_that_are_no_objects_are_refused(tmp_path: Path) -> None:
    folder = write_siglip(tmp_path / "base")
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for vision, text in ((None, "could not be loaded"), (["deep"], r"the vision_config of .* is \['deep'\]")):
        (folder / "config.json").write_text(json.dumps({**written, "vision_config": vision}), encoding="utf-8")
        with pytest.raises(InputError, match=text):
            load(folder)
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer_config.json holds no JSON object"):
        load(folder)


def test_clip_and_siglip_are_known_by_their_type(tmp_path: Path) -> None:
    for kind in ("clip", "siglip"):
        assert read_config(folder_with(tmp_path, model_type=kind))["model_type"] == kind


def test_other_types_of_model_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a model of the type 'blip'") as caught:
        load(folder_with(tmp_path, model_type="blip"))
    assert caught.value.hint == "give a folder whose config.json says model_type 'clip' or 'siglip'"


def test_a_siglip_of_variable_resolution_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"NaFlex, model_type 'siglip2'\): it reads patches") as caught:
        load(folder_with(tmp_path, model_type="siglip2"))
    assert "google/siglip2-base-patch16-224" in caught.value.hint


def test_a_siglip_without_a_head_has_no_embeddings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no embeddings of images"):
        load(folder_with(tmp_path, model_type="siglip", vision_config={"vision_use_head": False}))


def test_a_folder_with_a_peft_adapter_is_refused(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "clip")
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="holds a peft adapter") as caught:
        read_config(folder)
    assert "merge" in caught.value.hint


def test_what_siglips_tokenizer_needs_is_named_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_siglip(tmp_path / "base")
    monkeypatch.setattr(transformers_config, "SENTENCEPIECE", {"sentencepiece": "no_such_module", "protobuf": "json"})
    read_config(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "SiglipTokenizer"}', encoding="utf-8")
    with pytest.raises(InputError, match="needs sentencepiece, which is not installed") as caught:
        load(folder)
    assert caught.value.hint == "pip install sentencepiece"
