from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from efface.backends import load
from efface.backends.base import LoadedCLIP, TowerPair
from efface.backends.penultimate import entering, of_open_clip
from efface.errors import InputError
from tests.tiny_open_clip import CONFIGS, RESNET, SIGLIP, VIT, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers

# A ViT of timm's with a linear map after it, and one whose own head is that map.
TIMM = {**SIGLIP, "vision_cfg": {**SIGLIP["vision_cfg"], "timm_pool": "avg", "timm_proj": "linear"}}
BARE = {**SIGLIP, "vision_cfg": {**SIGLIP["vision_cfg"], "timm_pool": "avg", "timm_proj": ""}}


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def made(folder: Path, config: dict[str, Any]) -> LoadedCLIP:
    return load(f"local-dir:{write_open_clip(folder / 'clip', config)}")


@torch.no_grad()
def features(clip: LoadedCLIP) -> tuple[Tensor, Tensor]:
    """Penultimate features and embeddings of the same images."""
    assert isinstance(clip.encoder, TowerPair)
    return clip.encoder.penultimate(images()), clip.encoder.embed_image(images())


@pytest.mark.parametrize(
    ("config", "project"),
    [
        (VIT, lambda visual, hidden: hidden @ visual.proj),
        (TIMM, lambda visual, hidden: visual.head(hidden)),
        (BARE, lambda visual, hidden: visual.trunk.head(hidden)),
    ],
    ids=["vit", "timm with a projection", "timm with its own head"],
)
@torch.no_grad()
def test_the_last_map_of_a_transformer_makes_embeddings_of_them(
    tmp_path: Path, config: dict[str, Any], project: Callable[[Any, Tensor], Tensor]
) -> None:
    clip = made(tmp_path, config)
    hidden, embeddings = features(clip)
    torch.testing.assert_close(project(clip.encoder.module.visual, hidden), embeddings)


@torch.no_grad()
def test_of_transformers_clip_the_projection_makes_embeddings_of_them(tmp_path: Path) -> None:
    clip = load(write_transformers(tmp_path / "clip"))
    hidden, embeddings = features(clip)
    projection: Any = clip.encoder.module.visual_projection
    torch.testing.assert_close(projection(hidden), embeddings)


@torch.no_grad()
def test_of_a_resnet_they_are_the_mean_over_the_places_of_the_last_map(tmp_path: Path) -> None:
    clip = made(tmp_path, RESNET)
    visual: Any = clip.encoder.module.visual
    maps = images()
    for part in (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        maps = part(maps)
    torch.testing.assert_close(features(clip)[0], maps.flatten(2).mean(dim=2))


@torch.no_grad()
def test_of_siglip_they_are_the_mean_of_the_tokens_after_the_last_norm_in_either_library(tmp_path: Path) -> None:
    clip = load(write_siglip(tmp_path / "transformers"))
    vision: Any = clip.encoder.module.vision_model
    tokens = vision(pixel_values=images()).last_hidden_state
    torch.testing.assert_close(features(clip)[0], tokens.mean(dim=1))
    clip = made(tmp_path, SIGLIP)
    visual: Any = clip.encoder.module.visual
    torch.testing.assert_close(features(clip)[0], visual.trunk.forward_features(images()).mean(dim=1))


@pytest.mark.parametrize("kind", ["resnet", "vit", "siglip"])
@torch.no_grad()
def test_they_are_of_the_image_alone_and_leave_the_model_as_it_was(tmp_path: Path, kind: str) -> None:
    clip = made(tmp_path, CONFIGS[kind])
    before = {name: t.clone() for name, t in clip.encoder.module.state_dict().items()}
    hidden, embeddings = features(clip)
    again, same = features(clip)
    assert torch.equal(hidden, again)
    assert torch.equal(embeddings, same)
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.encoder.module.state_dict().items())
    assert not any(module._forward_pre_hooks for module in clip.encoder.module.modules())
    visual: Any = clip.encoder.module.visual
    torch.testing.assert_close(of_open_clip(visual, images()[1:2]), hidden[1:2])


def test_what_is_caught_is_averaged_over_places_and_over_tokens() -> None:
    module = nn.Identity()
    maps = torch.arange(8.0).view(1, 2, 2, 2)  # channel 0 holds 0 to 3, channel 1 holds 4 to 7
    assert entering(module, lambda: module(maps)).tolist() == [[1.5, 5.5]]
    tokens = torch.arange(8.0).view(1, 4, 2)  # column 0 holds 0, 2, 4, 6
    assert entering(module, lambda: module(tokens)).tolist() == [[3.0, 4.0]]
    vectors = torch.tensor([[1.0, 2.0]])
    assert entering(module, lambda: module(vectors)).tolist() == [[1.0, 2.0]]


def test_a_hook_goes_even_when_the_pass_fails() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"):
        entering(module, lambda: module(torch.zeros(1, 3)))
    assert not module._forward_pre_hooks


def test_a_tower_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="image tower Identity"):
        of_open_clip(nn.Identity(), images())
