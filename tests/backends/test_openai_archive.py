import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from efface.backends import load, save
from efface.backends.openai_archive import config_of, is_torchscript, read_state, weights_of
from efface.errors import InputError
from tests.tiny_open_clip import randomize_

jit: Any = torch.jit  # without types
TEXTS = ["a photo of a cat.", "a photo of a dog."]
# As in OpenAI's models, a head is 64 wide.
TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32},
    "resnet": {"layers": [1, 2, 1, 1], "width": 8, "image_size": 64},
}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}


def write_archive(path: Path, tower: str) -> open_clip.CLIP:
    """A TorchScript archive as OpenAI published them, in half precision, and the model that it was made of."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; such archives are there all the same
        torch.manual_seed(0)
        model = open_clip.CLIP(24, TOWERS[tower], TEXT, quick_gelu=True).eval()
        randomize_(model)
        model.half().float()
        for name in ("context_length", "vocab_size"):
            delattr(model, name)
        for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
            model.register_buffer(name, torch.tensor(value))
        size = TOWERS[tower]["image_size"]
        inputs = {
            "encode_image": (torch.zeros(1, 3, size, size),),
            "encode_text": (torch.zeros(1, 77, dtype=torch.long),),
        }
        traced: Any = jit.trace_module(model, inputs, check_trace=False)
        jit.save(traced.half(), path)
    return model.float()


@pytest.fixture(scope="module", params=list(TOWERS))
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, open_clip.CLIP]:
    path = tmp_path_factory.mktemp("archive") / f"{request.param}.pt"
    return path, write_archive(path, request.param)


def test_the_tensors_are_those_that_torchscript_reads(archive: tuple[Path, open_clip.CLIP]) -> None:
    path, _ = archive
    state = read_state(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = jit.load(path).state_dict()
    assert state.keys() == expected.keys()
    assert all(state[n].dtype == expected[n].dtype and torch.equal(state[n], expected[n]) for n in state)
    assert set(state) - set(weights_of(state)) == {"input_resolution", "context_length", "vocab_size", "attn_mask"}


def test_the_shapes_say_which_model_it_is(archive: tuple[Path, open_clip.CLIP]) -> None:
    path, _ = archive
    found = config_of(weights_of(read_state(path)), path)
    assert found == {"embed_dim": 24, "quick_gelu": True, "vision_cfg": TOWERS[path.stem], "text_cfg": TEXT}


@torch.no_grad()
def test_an_archive_loads_by_its_path_and_its_saved_folder_in_open_clip_alone(
    archive: tuple[Path, open_clip.CLIP], tmp_path: Path
) -> None:
    path, model = archive
    clip = load(path)
    assert clip.source == str(path)
    size = TOWERS[path.stem]["image_size"]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
    assert torch.equal(clip.tokenize(TEXTS), tokens)
    torch.testing.assert_close(clip.encoder.embed_image(images), model.encode_image(images))
    torch.testing.assert_close(clip.encoder.embed_text(tokens), model.encode_text(tokens))
    save(clip, tmp_path / "out")
    plain, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'out'}")
    torch.testing.assert_close(plain.eval().encode_image(images), model.encode_image(images))
    assert tuple(preprocess.transforms[-1].mean) == open_clip.OPENAI_DATASET_MEAN
    state, base = load_file(tmp_path / "out" / "open_clip_model.safetensors"), weights_of(read_state(path))
    assert state.keys() == base.keys()
    assert all(state[n].dtype == base[n].dtype and torch.equal(state[n], base[n]) for n in base)


def test_an_archive_needs_no_name(archive: tuple[Path, open_clip.CLIP]) -> None:
    path, _ = archive
    with pytest.raises(InputError, match="says itself what model it is") as caught:
        load(f"ViT-B-32:{path}")
    assert caught.value.hint == f"write {path}"


class Runs:
    """What runs code when a pickle with it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_no_code_in_an_archive_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("bad.pt", "w") as file:
        file.writestr("bad/data.pkl", pickle.dumps(Runs()))
        file.writestr("bad/constants.pkl", b"")
    with pytest.raises(InputError, match=r"could not be read as an archive of tensors: it asks for pathlib") as caught:
        load("bad.pt")
    assert "ViT-B-32:openai" in caught.value.hint
    assert not Path("ran").exists()


def test_a_damaged_archive_is_refused(archive: tuple[Path, open_clip.CLIP], tmp_path: Path) -> None:
    path, _ = archive
    content = path.read_bytes()
    for name, length in (("cut.pt", 1000), ("empty.pt", 0)):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(InputError):
            load(tmp_path / name)


def test_any_damage_to_an_archive_is_one_of_its_input(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for content, text in (
        (b"", "Ran out of input"),
        (pickle.dumps(1), "could not be read"),
        (pickle.dumps([2**70]), "could not be read"),
        (b"\x80\x02NK\x05b.", "could not be read"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a/constants.pkl", b"")
            file.writestr("a/data.pkl", content)
        with pytest.raises(InputError, match=text):
            load(path)
    whole = path.read_bytes()
    start = whole.index(b"a/data.pkl") + len("a/data.pkl")
    path.write_bytes(whole[:start] + b"\xff" * 3 + whole[start + 3 :])
    with pytest.raises(InputError, match="could not be read as an archive of tensors"):
        load(path)
    path.write_bytes(whole.replace(b"PK\x01\x02", b"XXXX"))
    assert not is_torchscript(path)
    with pytest.raises(InputError, match="is no archive as OpenAI published them"):
        load(path)


def test_other_files_are_answered_with_the_name_that_they_need(tmp_path: Path) -> None:
    torch.save({"state_dict": {"visual.proj": torch.zeros(2)}}, tmp_path / "epoch_1.pt")
    assert not is_torchscript(tmp_path / "epoch_1.pt")
    with pytest.raises(InputError, match="is no archive as OpenAI published them") as caught:
        load(tmp_path / "epoch_1.pt")
    assert caught.value.hint.startswith(f"write NAME:{tmp_path / 'epoch_1.pt'}")
