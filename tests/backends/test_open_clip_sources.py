import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from efface.backends import load, save
from efface.backends.open_clip_sources import find, stored_in
from efface.errors import InputError
from tests.hub_cache import lay_out
from tests.tiny_open_clip import SIGLIP, VIT, write_open_clip
from tests.tiny_transformers import tokenizer

TEXTS = ["a photo of a Cat.", "a small red dog"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub's client."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def with_tokenizer(name: str) -> dict[str, Any]:
    """A SigLIP whose tokenizer is on the Hub, as that of open_clip's are."""
    return {**SIGLIP, "text_cfg": {**SIGLIP["text_cfg"], "hf_tokenizer_name": name}}


def test_a_home_is_written_out_behind_a_prefix_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_open_clip(tmp_path / "m", VIT)
    assert find("local-dir:~/m").folder == tmp_path / "m"
    weights = "m/open_clip_model.safetensors"
    assert find(f"RN50-quickgelu:~/{weights}").weights == tmp_path / weights


def test_weights_are_looked_for_in_open_clips_order(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "m", VIT)
    for name in ("model.safetensors", "a.safetensors"):
        (folder / name).touch()
    assert find(f"local-dir:{folder}").weights.name == "open_clip_model.safetensors"
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    assert find(f"local-dir:{folder}").weights.name == "open_clip_pytorch_model.bin"
    (folder / "open_clip_pytorch_model.bin").unlink()
    assert find(f"local-dir:{folder}").weights.name == "model.safetensors"
    (folder / "model.safetensors").unlink()
    (folder / "a.bin").touch()
    assert find(f"local-dir:{folder}").weights.name == "a.safetensors"


def test_a_pickle_of_a_training_keeps_its_dtypes(tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "m", VIT, dtype=torch.float16)
    state = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    weights = folder / "open_clip_pytorch_model.bin"
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, weights)
    assert {stored_in(weights)[name] for name in state} == {torch.float16}
    save(load(folder), tmp_path / "out")
    out = load_file(tmp_path / "out" / "open_clip_model.safetensors")
    assert all(out[n].dtype == state[n].dtype and torch.equal(out[n], state[n]) for n in state)


def test_a_tokenizer_on_the_hub_is_taken_from_the_cache_and_saved_with_the_model(tmp_path: Path, cache: Path) -> None:
    tokenizer().save_pretrained(tmp_path / "words")
    lay_out(cache, "org/words", tmp_path / "words")
    folder = write_open_clip(tmp_path / "m", with_tokenizer("org/words"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    lay_out(cache, "org/siglip", folder)
    clip = load("hf-hub:org/siglip")
    canonical = ["a photo of a cat", "a small red dog"]
    expected = tokenizer()(canonical, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    assert torch.equal(clip.tokenize(TEXTS), expected)
    save(clip, tmp_path / "out")
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")(TEXTS), expected)


def test_a_named_model_takes_weights_preprocessing_and_tokenizer_from_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_open_clip(tmp_path / "m", SIGLIP, dtype=torch.float16)
    (base / "README.md").write_text("the card", encoding="utf-8")
    lay_out(cache, "org/siglip", base)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "efface-siglip", with_tokenizer("org/siglip"))
    cfg = {"hf_hub": "org/siglip/", "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "efface-siglip", {"webli": cfg})
    clip = load("efface-siglip:webli")
    assert clip.card is not None
    assert clip.card.read_text(encoding="utf-8") == "the card"
    assert clip.config["preprocess_cfg"]["resize_mode"] == "squash"
    assert clip.encoder.pixels.std == (0.25,) * 3
    assert (clip.tokenize(TEXTS) < 19).all()
    save(clip, tmp_path / "out")
    state, out = (load_file(folder / "open_clip_model.safetensors") for folder in (base, tmp_path / "out"))
    assert all(out[n].dtype == state[n].dtype and torch.equal(out[n], state[n]) for n in state)
    again = load(tmp_path / "out")
    assert torch.equal(again.tokenize(TEXTS), clip.tokenize(TEXTS))
    assert again.encoder.pixels == clip.encoder.pixels
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["efface-siglip"], "other", {"hf_hub": "org/none/x.bin"})
    with pytest.raises(InputError, match=r"holds no x.safetensors or x.bin of a model 'org/none'"):
        load("efface-siglip:other")


def test_weights_in_a_file_are_prepared_for_as_all_tags_of_the_name_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_open_clip(tmp_path / "m", VIT) / "open_clip_model.safetensors"
    siglip = find(f"ViT-B-16-SigLIP:{weights}").preprocess
    assert siglip == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    with pytest.raises(InputError, match=r"a ViT-L-14 prepares images: openai and .* differ in mean and std") as caught:
        find(f"ViT-L-14:{weights}")
    assert "efface export ViT-L-14:TAG --to open_clip" in caught.value.hint
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "efface-tiny", VIT)
    assert find(f"efface-tiny:{weights}").preprocess == {}
    cfg = {"hf_hub": "org/none/", "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "efface-tiny", {"a": cfg, "b": cfg})
    clip = load(f"efface-tiny:{weights}")
    assert clip.config["preprocess_cfg"]["resize_mode"] == "squash"
    assert clip.encoder.pixels.std == (0.25,) * 3


@pytest.mark.parametrize("more", [{}, {"trust_remote_code": True}])
def test_no_code_beside_a_tokenizer_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Any) -> None:
    text = {**SIGLIP["text_cfg"], "tokenizer_kwargs": {"clean": "canonicalize", **more}}
    folder = write_open_clip(tmp_path / "m", {**SIGLIP, "text_cfg": text})
    path = folder / "tokenizer_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    told = {"auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}, "tokenizer_class": "Theirs"}
    path.write_text(json.dumps({**written, **told}), encoding="utf-8")
    code = "from pathlib import Path\nfrom transformers import PreTrainedTokenizerFast as Theirs\n"
    (folder / "theirs.py").write_text(f"{code}Path({str(tmp_path / 'ran')!r}).touch()\n", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with pytest.raises(InputError, match="trust_remote_code = True" if more else "could not be loaded"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_no_code_beside_the_configuration_of_a_text_tower_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    told = {"auto_map": {"AutoConfig": "theirs.Theirs"}, "model_type": "theirs"}
    (theirs / "config.json").write_text(json.dumps(told), encoding="utf-8")
    code = "from pathlib import Path\nfrom transformers import PretrainedConfig as Theirs\n"
    (theirs / "theirs.py").write_text(f"{code}Path({str(tmp_path / 'ran')!r}).touch()\n", encoding="utf-8")
    text = {**VIT["text_cfg"], "hf_model_name": str(theirs)}
    folder = write_open_clip(tmp_path / "m", VIT)
    config = folder / "open_clip_config.json"
    written = json.loads(config.read_text(encoding="utf-8"))
    written["model_cfg"] = {"embed_dim": 16, "vision_cfg": VIT["vision_cfg"], "text_cfg": text}
    config.write_text(json.dumps(written), encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with pytest.raises(InputError, match=r"could not be loaded: .*code"):
        load(folder)
    assert not (tmp_path / "ran").exists()
