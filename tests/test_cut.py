"""A tower that is cut gives what it gives whole, and trains its tail and nothing else."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from efface.backends import load
from efface.backends.base import LoadedCLIP
from efface.cut import CutTower
from efface.methods.base import only_trainable
from efface.testing import tiny_dual_encoder, tiny_images
from efface.types import DualEncoder
from tests.tiny_open_clip import CUSTOM_TEXT, RESNET, SIGLIP, WORDED, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers


def deep(config: dict[str, Any]) -> dict[str, Any]:
    """The same with three blocks of text."""
    return {**config, "text_cfg": {**config["text_cfg"], "layers": 3}}


WRITE: dict[str, Callable[[Path], str]] = {
    "open_clip ResNet": lambda folder: f"local-dir:{write_open_clip(folder, deep(RESNET))}",
    "open_clip ViT": lambda folder: f"local-dir:{write_open_clip(folder, deep(WORDED))}",
    "open_clip with a text tower of its own": lambda folder: f"local-dir:{write_open_clip(folder, deep(CUSTOM_TEXT))}",
    "open_clip SigLIP": lambda folder: f"local-dir:{write_open_clip(folder, SIGLIP)}",
    "transformers CLIP": lambda folder: str(write_transformers(folder)),
    "transformers SigLIP": lambda folder: str(write_siglip(folder)),
}
WHOLE = 99
"""More blocks than any of them has."""


@cache
def clip(kind: str) -> LoadedCLIP:
    """A model of this kind, which no test may change."""
    with TemporaryDirectory() as folder:
        return load(WRITE[kind](Path(folder) / "model"))


def encoder(kind: str) -> DualEncoder:
    """Its towers."""
    return tiny_dual_encoder(batch_norm=kind.endswith("BatchNorm")) if kind.startswith("tiny") else clip(kind).encoder


kinds = pytest.mark.parametrize("kind", [*WRITE, "tiny", "tiny with BatchNorm"])
depths = pytest.mark.parametrize("depth", [1, 2, WHOLE])


def images(model: DualEncoder, n: int = 3) -> Tensor:
    """Far louder than pictures: a random ResNet gives much the same features to all that are not."""
    shape = (n, 3, model.pixels.height, model.pixels.width)
    return 100 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


@kinds
@depths
def test_the_tail_of_the_trunk_is_the_tower(kind: str, depth: int) -> None:
    model = encoder(kind)
    tower, pictures = CutTower(model, depth), images(model)
    with torch.no_grad():
        whole, cut = model.encode_image(pictures), tower.features(tower.activations(pictures))
    torch.testing.assert_close(cut, whole, atol=1e-6, rtol=1e-5)
    # Not of one image alone, and not the same for all of them.
    assert (whole[0] - whole[1]).abs().max() > 1e-3


@kinds
def test_what_the_tail_starts_from_is_one_row_an_image(kind: str) -> None:
    model = encoder(kind)
    tower, pictures = CutTower(model, 1), images(model, 5)
    activations = tower.activations(pictures)
    assert len(activations) == 5
    assert not activations.requires_grad
    with torch.no_grad():
        some = tower.features(activations[[4, 1]])
        torch.testing.assert_close(some, model.encode_image(pictures)[[4, 1]], atol=1e-6, rtol=1e-5)


@kinds
@depths
def test_the_groups_are_those_that_the_tail_gives_gradients_less_batch_norm_and_positions(
    kind: str, depth: int
) -> None:
    model = encoder(kind)
    tower = CutTower(model, depth)
    activations = tower.activations(images(model))
    all_of_them = model.weights("image")
    with only_trainable(model.module, all_of_them):
        tower.features(activations).sum().backward()  # type: ignore[no-untyped-call]
        moved = [g for g in all_of_them if any(p.grad is not None for p in g.parameters)]
        assert all(p.grad is not None for g in moved for p in g.parameters)
    wanted = [g.name for g in moved if not g.is_batch_norm and g.part != "embedding"]
    assert [g.name for g in tower.groups()] == wanted
    assert wanted


def test_of_a_resnet_the_last_block_is_the_attention_pool() -> None:
    model = encoder("open_clip ResNet")
    assert {g.part for g in CutTower(model, 1).groups()} == {"pool"}
    assert {g.name.split(".")[1] for g in CutTower(model, 2).groups()} == {"layer4", "attnpool"}
    # All blocks alone are no cut: the stem belongs to the tail too.
    assert {g.part for g in CutTower(model, 5).groups()} == {"stem", "blocks", "pool"}
    assert CutTower(model, 5).tail == CutTower(model, WHOLE).tail == ()


@kinds
def test_a_tower_of_too_few_blocks_is_all_tail_and_starts_from_the_images(kind: str) -> None:
    model = encoder(kind)
    pictures, blocks = images(model), len(model.image_blocks())
    for depth in (blocks, blocks + 1):
        assert torch.equal(CutTower(model, depth).activations(pictures), pictures)
        assert torch.equal(CutTower(model, depth).features(pictures), model.encode_image(pictures))
    assert len(CutTower(model, blocks - 1).tail) == blocks - 1


def test_models_that_are_cut_alike_share_what_their_trunks_put_out() -> None:
    reference, edited = tiny_dual_encoder(), tiny_dual_encoder()
    pictures = tiny_images(2, rng=torch.Generator().manual_seed(0)).images
    with torch.no_grad():
        for group in CutTower(edited, 1).groups():
            group.parameters[0].add_(0.1)
    activations = CutTower(reference, 1).activations(pictures)
    features = CutTower(edited, 1).features(activations)
    torch.testing.assert_close(features, edited.encode_image(pictures))
    assert not torch.allclose(features, reference.encode_image(pictures), atol=1e-3)


def test_large_batches_are_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_dual_encoder()
    pictures = tiny_images(5, rng=torch.Generator().manual_seed(0)).images
    at_once = CutTower(model, 1).activations(pictures)
    monkeypatch.setattr("efface.cut.BATCH", 7)
    torch.testing.assert_close(CutTower(model, 1).activations(pictures), at_once)


@kinds
def test_no_hook_is_left_behind(kind: str) -> None:
    model = encoder(kind)
    tower = CutTower(model, 1)
    tower.features(tower.activations(images(model)))
    assert not any(module._forward_pre_hooks for module in model.module.modules())


def test_nor_by_a_tail_that_fails() -> None:
    model = tiny_dual_encoder()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        CutTower(model, 1).features(torch.zeros(2, 3))
    assert not any(module._forward_pre_hooks for module in model.module.modules())


def test_a_tower_that_does_not_run_its_blocks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_dual_encoder()
    monkeypatch.setattr(type(model), "image_blocks", lambda self: (nn.Linear(1, 1), nn.Linear(1, 1)))
    with pytest.raises(RuntimeError, match="did not run its own blocks"):
        CutTower(model, 1).activations(images(model))


def test_features_of_many_come_in_batches_and_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder("tiny")
    tower = CutTower(model, 1)
    activations = tower.activations(images(model, 7))
    at_once = tower.features(activations)
    monkeypatch.setattr("efface.cut.BATCH", 3)
    torch.testing.assert_close(tower.all_features(activations), at_once.detach())
    assert at_once.requires_grad
    assert not tower.all_features(activations).requires_grad
