import io
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision import transforms as T
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, CLIPModel
from transformers.utils import logging

from efface.backends import load, save
from efface.backends.transformers_folder import open_folder
from efface.errors import InputError
from efface.types import PixelSpace
from tests.tiny_transformers import CONTEXT, MEAN, SIZE, SPECIAL, STD, WORDS, write_siglip, write_transformers

WEIGHTS = "model.safetensors"
PICTURE = Image.effect_noise((50, 40), 60).convert("RGB")
IDS = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_transformers(tmp_path / "base", dtype=torch.float16)


def change(path: Path, edit: Callable[[Any], object]) -> None:
    """Edits a JSON file in place."""
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def resave(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Edits the weights in place."""
    state = load_file(folder / WEIGHTS)
    edit(state)
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def test_texts_become_words_between_start_and_end_of_equal_length(folder: Path) -> None:
    tokens = open_folder(folder).tokenize(["A photo of a CAT.", "a " * 50, "zebra"])
    assert tokens.shape == (3, CONTEXT)
    words = ["<start>", "a", "photo", "of", "a", "cat", ".", "<end>"]
    assert tokens[0].tolist() == [IDS[word] for word in words] + [IDS["<pad>"]] * (CONTEXT - len(words))
    assert tokens[1].tolist() == [IDS["<start>"], *[IDS["a"]] * (CONTEXT - 2), IDS["<end>"]]
    assert tokens[2, 1] == IDS["<unk>"]


def test_openais_vocabulary_in_two_files_gives_the_tokens_of_open_clip(folder: Path) -> None:
    theirs = open_clip.tokenizer.SimpleTokenizer(context_length=CONTEXT)
    end = theirs.encoder["<end_of_text>"]
    vocabulary = {**theirs.encoder, "<|startoftext|>": end - 1, "<|endoftext|>": end}
    del vocabulary["<start_of_text>"], vocabulary["<end_of_text>"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in theirs.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    change(folder / "config.json", lambda c: c["text_config"].update(vocab_size=end + 1, eos_token_id=2))
    name = "text_model.embeddings.token_embedding.weight"
    resave(folder, lambda state: state.update({name: torch.zeros(end + 1, state[name].shape[1])}))
    texts = ["a photo of a golden retriever.", "Été, 2 o'clock: it's", "cat " * 50]
    ours, expected = open_folder(folder).tokenize(texts), theirs(texts)
    # After the end of a text open_clip puts zeros, and transformers more ends.
    upto = (ours == end).cumsum(dim=1) <= 1
    assert torch.equal(ours[upto], expected[upto])


def test_preprocessing_is_the_image_processors_own(folder: Path) -> None:
    opened = open_folder(folder)
    upstream = AutoImageProcessor.from_pretrained(folder)(PICTURE, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(opened.preprocess(PICTURE), upstream, atol=1e-5, rtol=0)
    assert opened.pixels == PixelSpace(MEAN, STD, SIZE, SIZE)
    by_hand = T.Compose([T.Resize(SIZE, T.InterpolationMode.BICUBIC), T.CenterCrop(SIZE), T.ToTensor()])
    # Pillow resizes in other steps than torchvision, which transformers calls: at most 2 of 255 levels apart.
    expected = opened.pixels.normalize(by_hand(PICTURE)[None])[0]
    torch.testing.assert_close(opened.preprocess(PICTURE), expected, atol=2 / 255 / min(STD), rtol=0)


def test_tokenizer_and_preprocessing_survive_pickling(folder: Path) -> None:
    opened = open_folder(folder)
    tokenize, preprocess = pickle.loads(pickle.dumps((opened.tokenize, opened.preprocess)))
    assert torch.equal(tokenize(["a cat"]), opened.tokenize(["a cat"]))
    assert torch.equal(preprocess(PICTURE), opened.preprocess(PICTURE))


def test_loading_prints_nothing_and_leaves_logging_and_chance_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.random.get_rng_state()
    open_folder(folder)
    assert capfd.readouterr() == ("", "")
    after = logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.random.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


# Other files that hold the same model


def same(folder: Path, other: Path) -> None:
    ours, theirs = (open_folder(path) for path in (folder, other))
    assert ours.stored == theirs.stored
    assert set(ours.stored.values()) == {torch.float16}
    a, b = (opened.model.state_dict() for opened in (ours, theirs))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_weights_in_several_files_are_read_with_their_dtypes(folder: Path, tmp_path: Path) -> None:
    other = write_transformers(tmp_path / "other", dtype=torch.float16, seed=1)
    (other / WEIGHTS).unlink()
    CLIPModel.from_pretrained(folder, dtype="auto").save_pretrained(other, max_shard_size="40KB")
    assert len(list(other.glob("*.safetensors"))) > 1
    same(folder, other)


def test_a_pickle_of_tensors_is_read_and_one_that_runs_code_is_not(folder: Path, tmp_path: Path) -> None:
    other = write_transformers(tmp_path / "other", dtype=torch.float16, seed=1)
    (other / WEIGHTS).unlink()
    torch.save(load_file(folder / WEIGHTS), other / "pytorch_model.bin")
    same(folder, other)
    torch.save({"logit_scale": Path}, other / "pytorch_model.bin")
    with pytest.raises(InputError, match="a pickle that holds more than tensors"):
        open_folder(other)


def test_positions_that_old_checkpoints_hold_are_no_weights(folder: Path) -> None:
    resave(folder, lambda state: state.update({"text_model.embeddings.position_ids": torch.arange(CONTEXT)[None]}))
    assert "text_model.embeddings.position_ids" not in open_folder(folder).model.state_dict()


def test_an_old_image_processor_means_the_same(folder: Path) -> None:
    before = open_folder(folder).preprocess(PICTURE)

    def age(document: dict[str, Any]) -> None:
        del document["image_processor_type"]
        document |= {"feature_extractor_type": "CLIPFeatureExtractor", "size": SIZE, "crop_size": SIZE}

    change(folder / "preprocessor_config.json", age)
    assert torch.equal(open_folder(folder).preprocess(PICTURE), before)


def test_an_image_processor_inside_of_a_processor_means_the_same(folder: Path) -> None:
    before = open_folder(folder).preprocess(PICTURE)
    AutoProcessor.from_pretrained(folder).save_pretrained(folder)
    if not (folder / "processor_config.json").is_file():
        pytest.skip("version 4 of transformers writes an image processor beside the processor")
    (folder / "preprocessor_config.json").unlink()
    assert "image_processor" in json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    assert torch.equal(open_folder(folder).preprocess(PICTURE), before)


def test_the_end_that_old_configurations_name_is_the_largest_id(folder: Path) -> None:
    change(folder / "config.json", lambda document: document["text_config"].update(eos_token_id=2))
    opened = open_folder(folder)
    tokens = torch.tensor([[2, 4, 18, 3, 0], [2, 4, 18, 5, 6]])
    first, second = opened.model.text_model(input_ids=tokens).pooler_output  # type: ignore[operator]
    torch.testing.assert_close(first, second)


# Folders that cannot be loaded


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (WEIGHTS, "holds no weights"),
        ("tokenizer.json", "holds no tokenizer"),
        ("preprocessor_config.json", "could not be loaded: Can't load image processor"),
    ],
)
def test_a_file_that_is_missing_is_named(folder: Path, name: str, text: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=text):
        load(folder)


def test_weights_that_do_not_fit_the_configuration_are_named(folder: Path) -> None:
    good = load_file(folder / WEIGHTS)

    def refused(edit: Callable[[dict[str, torch.Tensor]], object]) -> str:
        resave(folder, edit)
        with pytest.raises(InputError, match="could not be loaded") as caught:
            load(folder)
        save_file(good, folder / WEIGHTS, metadata={"format": "pt"})
        return str(caught.value)

    name = "visual_projection.weight"
    assert f"1 weights are missing for its config.json, {name} first" in refused(lambda s: s.pop(name))
    assert "1 weights are unexpected for its config.json, extra first" in refused(
        lambda s: s.update(extra=torch.ones(1))
    )
    assert "1 weights are mismatched for its config.json" in refused(lambda s: s.update({name: torch.ones(3, 4)}))


def test_weights_that_are_not_finite_or_cut_off_are_refused(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    resave(folder, lambda state: state["logit_scale"].fill_(float("nan")))
    with pytest.raises(InputError, match="'logit_scale' first"):
        load(folder)
    for length in (0, 7, 1000, len(content) - 1):
        (folder / WEIGHTS).write_bytes(content[:length])
        with pytest.raises(InputError, match="could not be loaded"):
            load(folder)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda c: c["vision_config"].update(hidden_size="wide"), "size"),
        (lambda c: c["vision_config"].update(num_attention_heads=5), "(not a multiple|must be divisible)"),
        (lambda c: c["text_config"].update(hidden_act="none"), "none"),
        (lambda c: c["text_config"].update(eos_token_id=17), "does not end each text with the token 17"),
        (lambda c: c["vision_config"].update(num_attention_heads=0), ""),
    ],
)
def test_configurations_that_no_model_can_have_are_refused(
    folder: Path, edit: Callable[[Any], object], text: str
) -> None:
    change(folder / "config.json", edit)
    with pytest.raises(InputError, match=f"could not be loaded: .*{text}"):
        load(folder)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (
            lambda c: c.update(crop_size={"height": 48, "width": 48}),
            r"makes \(3, 48, 48\) of a picture, its model takes 32",
        ),
        (lambda c: c.update(do_normalize=False), "does not make pixels"),
        (lambda c: c.update(rescale_factor=1.0), "does not make pixels"),
        (lambda c: c.update(image_mean=[0.5]), ""),
    ],
)
def test_image_processors_of_another_model_are_refused(folder: Path, edit: Callable[[Any], object], text: str) -> None:
    change(folder / "preprocessor_config.json", edit)
    with pytest.raises(InputError, match=f"could not be loaded: .*{text}"):
        load(folder)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    change(folder / "tokenizer.json", lambda document: document["model"]["vocab"].update(zebra=len(IDS)))
    with pytest.raises(InputError, match=f"more than the {len(IDS)} tokens of its config.json"):
        load(folder)


def test_spare_tokens_that_no_text_is_read_as_may_be_more_than_the_model_has(tmp_path: Path) -> None:
    folder = write_siglip(tmp_path / "base")
    change(folder / "tokenizer.json", lambda document: document["model"]["vocab"].update({"<extra_id_0>": len(IDS)}))
    assert open_folder(folder).tokenize(["a cat"]).max() < len(IDS)
    change(folder / "tokenizer.json", lambda document: document["model"]["vocab"].update(zebra=len(IDS) + 1))
    with pytest.raises(InputError, match=f"more than the {len(IDS)} tokens"):
        load(folder)


def test_siglips_first_tokenizer_is_transformers_own(tmp_path: Path) -> None:
    spm = pytest.importorskip("sentencepiece")
    folder = write_siglip(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(["a bad cab", "a fed hag", "egg"] * 9),
        model_writer=(model := io.BytesIO()),
        vocab_size=12,
        model_type="char",
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    document = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(document), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sentencepiece's bindings
        clip = load(folder)
        upstream = AutoTokenizer.from_pretrained(folder)(
            ["A bad, bad cab.", "egg"], padding="max_length", max_length=64, return_tensors="pt"
        )
    tokens = clip.tokenize(["A bad, bad cab.", "egg"])
    assert torch.equal(tokens, upstream["input_ids"])
    assert torch.equal(tokens[0], clip.tokenize(["a bad bad cab"])[0]), "punctuation and capitals are not read"
    assert tokens[1, -1] == 1
    save(clip, tmp_path / "out")
    assert torch.equal(load(tmp_path / "out").tokenize(["egg"]), tokens[1:])


def test_a_siglip_2_reads_texts_in_lower_case(tmp_path: Path) -> None:
    folder = write_siglip(tmp_path / "base", version=2)
    tokenize = open_folder(folder).tokenize
    assert torch.equal(tokenize(["A PHOTO of a Cat"]), tokenize(["a photo of a cat"]))
    plain = AutoTokenizer.from_pretrained(folder)
    assert tokenize(["A Cat"])[0, :6].tolist() == plain("a cat")["input_ids"] != plain("A Cat")["input_ids"]
    # SigLIP's first tokenizer has a way of its own.
    assert not open_folder(write_siglip(tmp_path / "first")).tokenize.lower


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_small_files_that_are_damaged_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_text('{"a', encoding="utf-8")
    with pytest.raises(InputError, match="could not be loaded"):
        load(folder)
