"""The models that come with efface: small, as good as their cards say, and whole for who has only their library."""

from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel

import efface
from efface.backends.base import LoadedCLIP
from efface.backends.builtin import names, root
from efface.data.prompts import texts
from efface.data.symbols import drawn, open_symbols
from efface.encoding import encode_classes, predict
from efface.symbols.catalogue import GROUPS, MEMBERS
from efface.symbols.splits import scenes

TOWERS = ("vit", "rn")
towers = pytest.mark.parametrize("tower", TOWERS)
MB = 1_000_000


@cache
def loaded(name: str) -> LoadedCLIP:
    return efface.load(f"builtin:{name}")


def accuracy(name: str, source: str, where: dict[str, str] | None = None) -> float:
    """Zero-shot accuracy among all class names of the source, counted one by one."""
    clip = loaded(name)
    data = open_symbols(source, preprocess=clip.preprocess, where=where)
    tokens = clip.class_tokens([texts(("a photo of a {}.",), class_name) for class_name in data.class_names])
    classes = encode_classes(clip.encoder, tokens)
    right = 0
    for images, labels in data.images.batches(256):
        right += int((predict(clip.encoder, images, classes) == labels).sum())
    return right / len(data.images)


def test_all_six_are_there_and_small() -> None:
    expected = {
        f"symbols-{tower}{gold}" for tower in TOWERS for gold in ("", "-without-knight", "-without-knight-notation")
    }
    assert set(names()) == expected
    sizes = {name: sum(path.stat().st_size for path in (root() / name).rglob("*")) for name in expected}
    assert max(sizes.values()) <= 4 * MB
    assert sum(sizes.values()) <= 20 * MB


@towers
def test_weights_are_fp16_and_the_vocabulary_is_their_own(tower: str) -> None:
    clip = loaded(f"symbols-{tower}")
    floating = [dtype for dtype in clip.stored.values() if dtype.is_floating_point]
    assert set(floating) == {torch.float16}
    table = next(group for group in clip.encoder.weights("text") if group.name.endswith("token_embedding.weight"))
    assert table.parameters[0].shape[0] <= 1000


@towers
@pytest.mark.parametrize(
    ("source", "least"),
    [
        ("symbols:test", 0.97),
        ("symbols:test:groups", 0.97),
        ("symbols:unseen", 0.90),
    ],
)
def test_a_tower_knows_its_world(tower: str, source: str, least: float) -> None:
    assert accuracy(f"symbols-{tower}", source) >= least


@towers
def test_the_gold_without_a_class_knows_the_others_and_not_the_class(tower: str) -> None:
    """Of the other members it misses what the tower misses, two points more at most."""
    gold = f"symbols-{tower}-without-knight"
    knights = accuracy(gold, "symbols:test", {"member": "knight"})
    share = 1 / len(MEMBERS)
    others = (accuracy(gold, "symbols:test") - share * knights) / (1 - share)
    assert knights <= 0.1
    assert others >= 0.95


@towers
def test_the_gold_without_a_design_does_not_know_it_and_knows_the_class(tower: str) -> None:
    gold = f"symbols-{tower}-without-knight-notation"
    assert accuracy(f"symbols-{tower}", "symbols:test", {"member": "knight", "design": "notation"}) >= 0.9
    assert accuracy(gold, "symbols:test", {"member": "knight", "design": "notation"}) <= 0.3
    for design in ("line", "figure"):
        assert accuracy(gold, "symbols:test", {"member": "knight", "design": design}) >= 0.85
    assert accuracy(gold, "symbols:test") >= 0.95


def pictures() -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in drawn(scenes("test").take(slice(0, 40)))]


def efface_logits(name: str, said: list[str]) -> Tensor:
    clip = loaded(name)
    images = torch.stack([clip.preprocess(picture) for picture in pictures()])
    with torch.no_grad():
        cosines = clip.encoder.encode_image(images) @ clip.encoder.encode_text(clip.tokenize(said)).T
        return cosines * clip.encoder.logit_scale


SAID = [*(f"a photo of a {name}." for name in MEMBERS[:20]), *(f"a {group.name}" for group in GROUPS)]


def test_plain_transformers_gives_the_same_numbers() -> None:
    folder = root() / "symbols-vit"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    from transformers import AutoImageProcessor

    images = AutoImageProcessor.from_pretrained(folder)(pictures(), return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(SAID, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=images["pixel_values"]
        ).logits_per_image
    assert torch.allclose(logits, efface_logits("symbols-vit", SAID), atol=1e-4)


def test_plain_open_clip_gives_the_same_numbers() -> None:
    source = f"local-dir:{root() / 'symbols-rn'}"
    model = open_clip.create_model(source).float().eval()
    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    images = torch.stack([preprocess(picture) for picture in pictures()])
    with torch.no_grad():
        texts_ = model.encode_text(open_clip.get_tokenizer(source)(SAID), normalize=True)
        logits = model.encode_image(images, normalize=True) @ texts_.T * model.logit_scale.exp()
    assert torch.allclose(logits, efface_logits("symbols-rn", SAID), atol=1e-4)


def test_each_card_says_what_it_was_trained_on_and_how_well_it_does() -> None:
    digests = set()
    for name in names():
        card = (Path(root()) / name / "README.md").read_text(encoding="utf-8")
        assert "symbols:validation" in card
        assert "[training]" in card
        digests.add(card.split("sha256 `")[1].split("`")[0])
    # The towers share a training set, and so do their golds of a kind: three sets for six models.
    assert len(digests) == 3
