"""Which layers there are, their Fisher information against the definition itself, and where a tower is cut for them."""

from pathlib import Path

import pytest
import torch

from efface import load
from efface.encoding import encode_classes
from efface.methods.subgroup.layers import (
    chosen_layers,
    depth_of,
    fisher_of,
    is_same,
    layers,
    moved_layers,
    pairs,
    same_layers,
)
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import DualEncoder, Images, Tokens
from tests.tiny_open_clip import RESNET, SIGLIP, WORDED, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers

RNG = torch.Generator()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DualEncoder]:
    folder: Path = tmp_path_factory.mktemp("models")
    resnet = {**RESNET, "text_cfg": WORDED["text_cfg"]}
    return {
        "transformers": load(write_transformers(folder / "transformers")).encoder,
        "vit": load(f"local-dir:{write_open_clip(folder / 'vit', WORDED)}").encoder,
        "resnet": load(f"local-dir:{write_open_clip(folder / 'resnet', resnet)}").encoder,
        "siglip": load(f"local-dir:{write_open_clip(folder / 'siglip', SIGLIP)}").encoder,
        "transformers siglip": load(write_siglip(folder / "transformers siglip")).encoder,
    }


def test_a_layer_is_its_weight_and_its_bias_and_norms_and_tables_are_none(models: dict[str, DualEncoder]) -> None:
    found = {layer.name: layer for layer in layers(models["vit"])}
    block = "visual.transformer.resblocks.0"
    assert len(found[f"{block}.attn.in_proj"].parameters) == len(found[f"{block}.mlp.c_fc"].parameters) == 2
    assert {"visual.conv1", "visual.proj"} < set(found)
    assert not any("ln_" in name or "embedding" in name for name in found)
    resnet = [layer.name for layer in layers(models["resnet"])]
    assert "visual.attnpool.q_proj" in resnet
    assert not any(".bn" in name for name in resnet)
    # Query, key and value of a block are one layer in either format.
    attention = {layer.name: layer for layer in layers(models["transformers"])}
    assert len(attention["vision_model.encoder.layers.0.self_attn.in_proj"].parameters) == 6
    # Of SigLIP's attention pool neither what it asks with, which is one vector, nor its norm.
    for kind, probe in (("siglip", "attn_pool.latent"), ("transformers siglip", "head.probe")):
        names = {name for name, _ in models[kind].module.named_parameters()}
        assert any(name.endswith(probe) for name in names)
        found = {layer.name: layer for layer in layers(models[kind])}
        assert not any(name.endswith(probe) or "norm" in name for name in found)
        assert any("attn_pool" in name or "head.attention" in name for name in found)


@pytest.mark.parametrize(("kind", "blocks"), [("transformers", 2), ("vit", 2), ("resnet", 5)])
def test_the_last_blocks_are_found_and_a_tower_is_cut_before_them(
    kind: str, blocks: int, models: dict[str, DualEncoder]
) -> None:
    model = models[kind]
    for depth in range(1, blocks):
        tail = layers(model, depth)
        assert len(tail) < len(layers(model, depth + 1))
        assert depth_of(model, tail) == depth
        assert depth_of(model, tail[-1:]) == 1
    everything = layers(model)
    assert depth_of(model, everything) == blocks
    assert len(model.image_blocks()) == blocks


def squares_one_by_one(model: DualEncoder, images: Images, tokens: Tokens, labels: torch.Tensor) -> list[float]:
    """The definition, entry by entry: of each layer the mean over its weights and over images of a squared slope."""
    texts = encode_classes(model, tokens)
    found = []
    for layer in layers(model):
        slopes = []
        for image, label in zip(images, labels, strict=True):
            features = model.encode_image(image[None])[0]
            model.module.zero_grad()
            (features @ texts[label]).backward()  # type: ignore[no-untyped-call]
            slopes += [s for p in layer.parameters if p.grad is not None for s in p.grad.flatten().tolist()]
        found.append(sum(s**2 for s in slopes) / len(slopes))
    model.module.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("batch_norm", [False, True])
def test_fisher_information_is_what_brute_force_over_images_and_weights_gives(batch_norm: bool) -> None:
    model, data = tiny_dual_encoder(batch_norm=batch_norm), tiny_images(1, rng=RNG.manual_seed(3))
    expected = squares_one_by_one(model, data.images, tiny_class_tokens(), data.labels)
    classes = encode_classes(model, tiny_class_tokens())
    told: list[int] = []
    of = pairs(data, classes, 99, rng=RNG.manual_seed(0))
    found = fisher_of(model, layers(model), of, told.append)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert sum(told) == 6
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_it_is_no_square_of_a_mean_gradient() -> None:
    # Two images whose slopes cancel have the same information as each alone.
    model = tiny_dual_encoder()
    data = tiny_images(1, rng=RNG.manual_seed(3), classes=[2])
    text = encode_classes(model, tiny_class_tokens())[2:3]
    alone = fisher_of(model, layers(model), iter([(data.images, text)]))
    both = fisher_of(model, layers(model), iter([(data.images, text), (data.images, -text)]))
    torch.testing.assert_close(both, alone)


def test_the_choice_is_a_share_in_the_order_of_the_tower() -> None:
    model = tiny_dual_encoder()
    classes, candidates = encode_classes(model, tiny_class_tokens()), layers(model)
    forget = tiny_images(2, rng=RNG.manual_seed(4), classes=[2])
    retain = tiny_images(2, rng=RNG.manual_seed(5), classes=[0, 1])

    def choose(share: float, *, keep: bool = True) -> list[str]:
        of = [pairs(images, classes, 4, rng=RNG.manual_seed(0)) for images in (forget, retain if keep else None)]
        return [layer.name for layer in chosen_layers(model, candidates, of[0], of[1], share)]

    names = [layer.name for layer in candidates]
    assert names == ["image.stem", "image.pool", "image.projection"]
    two = choose(0.5)
    assert len(two) == 2
    assert two == [name for name in names if name in two]
    assert set(choose(0.1)) < set(two)
    assert choose(1.0) == names
    # Without images to keep the layers with most to do with the others are taken.
    information = fisher_of(model, candidates, pairs(forget, classes, 4, rng=RNG.manual_seed(0)))
    assert choose(0.1, keep=False) == [names[int(information.argmax())]]


def test_layers_that_moved_are_found_by_a_single_bit_and_by_name_in_another_model() -> None:
    model, reference = tiny_dual_encoder(), tiny_dual_encoder()
    assert moved_layers(model, reference) == []
    with torch.no_grad():
        model.module.get_parameter("image.pool.bias")[3] += 1e-7
    (moved,) = moved_layers(model, reference)
    assert moved.parameters[0] is model.module.get_parameter("image.pool.weight")
    (same,) = same_layers(reference, [moved])
    assert same.parameters[0] is reference.module.get_parameter("image.pool.weight")


def test_models_are_the_same_until_a_weight_a_norm_or_a_statistic_differs() -> None:
    reference = tiny_dual_encoder(batch_norm=True)
    assert is_same(tiny_dual_encoder(batch_norm=True), reference)
    for name in ("image.stem.weight", "image.norm.bias", "image.norm.running_mean"):
        model = tiny_dual_encoder(batch_norm=True)
        model.module.state_dict()[name].view(-1)[0] += 1
        assert not is_same(model, reference), name
