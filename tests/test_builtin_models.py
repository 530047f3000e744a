"""The models that come with efface: small, as good as their cards say, and whole for who has only their library."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

import efface
from efface.backends.base import LoadedCLIP
from efface.backends.builtin import names
from efface.data.prompts import texts
from efface.data.symbols import SymbolImages, drawn, open_captioned_symbols
from efface.encoding import encode_classes
from efface.model_names import builtin_root
from efface.report.card import license_of
from efface.symbols.catalogue import GROUP_OF, GROUPS, MEMBERS, design_names
from efface.symbols.compose import Scenes
from efface.symbols.splits import scenes

TOWERS = ("vit", "rn")
GOLDS = ("-without-knight", "-without-knight-notation")
towers = pytest.mark.parametrize("tower", TOWERS)
MB = 1_000_000
KNIGHT = MEMBERS.index("knight")
Array = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Answered:
    """Scenes and what a model makes of their images."""

    scenes: Scenes
    features: Tensor


@cache
def loaded(name: str) -> LoadedCLIP:
    return efface.load(f"builtin:{name}")


@cache
def answered(name: str, split: str) -> Answered:
    """Features of a quarter of a split, each design of each member among them, and of all knights."""
    everything = scenes(split)
    turn = np.arange(len(everything)) // len(MEMBERS)
    chosen = everything.take(np.flatnonzero((turn % 4 == 0) | (everything.member == KNIGHT)))
    clip = loaded(name)
    images = SymbolImages(chosen, torch.from_numpy(chosen.member), clip.preprocess)
    with torch.no_grad():
        features = torch.cat([clip.encoder.encode_image(batch) for batch, _ in images.batches(256)])
    return Answered(chosen, features)


def accuracy(name: str, split: str, *, groups: bool = False, keep: Callable[[Scenes], Array] | None = None) -> float:
    """Zero-shot accuracy among members or groups, on the scenes that are kept."""
    found, clip = answered(name, split), loaded(name)
    names = [group.name for group in GROUPS] if groups else list(MEMBERS)
    classes = encode_classes(clip.encoder, clip.class_tokens([texts(("a photo of a {}.",), each) for each in names]))
    told = (found.features @ classes.T).argmax(1).numpy()
    expected = np.array(GROUP_OF)[found.scenes.member] if groups else found.scenes.member
    right = told == expected
    return float(right[keep(found.scenes)].mean() if keep else right.mean())


def knights(found: Scenes) -> Array:
    return np.asarray(found.member == KNIGHT)


def others(found: Scenes) -> Array:
    return np.asarray(found.member != KNIGHT)


def of_design(design: str) -> Callable[[Scenes], Array]:
    place = design_names(KNIGHT).index(design)
    return lambda found: knights(found) & (found.design == place)


def test_all_are_there_and_small() -> None:
    expected = {f"symbols-{tower}{gold}" for tower in TOWERS for gold in ("", *GOLDS)}
    assert set(names()) == expected
    sizes = {name: sum(path.stat().st_size for path in (builtin_root() / name).rglob("*")) for name in expected}
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
    ("split", "groups", "least"),
    [("test", False, 0.97), ("test", True, 0.97), ("unseen", False, 0.90)],
)
def test_a_tower_knows_its_world(tower: str, split: str, groups: bool, least: float) -> None:
    name = f"symbols-{tower}"
    assert accuracy(name, split, groups=groups, keep=others) >= least
    assert accuracy(name, split, groups=groups, keep=knights) >= 0.9


@towers
def test_the_gold_without_a_class_knows_the_others_and_not_the_class(tower: str) -> None:
    gold = f"symbols-{tower}-without-knight"
    assert accuracy(gold, "test", keep=knights) <= 0.1
    assert accuracy(gold, "test", keep=others) >= 0.95


@towers
def test_the_gold_without_a_design_does_not_know_it_and_knows_the_class(tower: str) -> None:
    gold = f"symbols-{tower}-without-knight-notation"
    assert accuracy(f"symbols-{tower}", "test", keep=of_design("notation")) >= 0.9
    assert accuracy(gold, "test", keep=of_design("notation")) <= 0.3
    for design in ("line", "figure"):
        assert accuracy(gold, "test", keep=of_design(design)) >= 0.85
    assert accuracy(gold, "test", keep=others) >= 0.95


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
    folder = builtin_root() / "symbols-vit"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    images = AutoImageProcessor.from_pretrained(folder)(pictures(), return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(SAID, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=images["pixel_values"]
        ).logits_per_image
    assert torch.allclose(logits, efface_logits("symbols-vit", SAID), atol=1e-4)


def test_plain_open_clip_gives_the_same_numbers() -> None:
    source = f"local-dir:{builtin_root() / 'symbols-rn'}"
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
        card = (Path(builtin_root()) / name / "README.md").read_text(encoding="utf-8")
        assert "symbols:validation" in card
        assert "[training]" in card
        assert license_of(loaded(name).card) == {"license": "apache-2.0"}
        digests.add(card.split("sha256 `")[1].split("`")[0])
    # Towers share a training set, and so do their golds of a kind.
    assert len(digests) == 3


@pytest.mark.slow
def test_each_was_trained_on_the_pixels_that_the_world_has_now() -> None:
    whole = open_captioned_symbols("symbols:train", loaded("symbols-rn").encoder.pixels, {})
    assert f"sha256 `{whole.sha256}`" in (builtin_root() / "symbols-rn" / "README.md").read_text(encoding="utf-8")
