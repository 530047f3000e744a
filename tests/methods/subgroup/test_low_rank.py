"""A change of low rank: where it is put, what it merges to, and that all else stays."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from efface import load
from efface.methods.subgroup.layers import layers
from efface.methods.subgroup.low_rank import Adapted, LowRank, adapted, write_
from efface.testing import tiny_dual_encoder
from efface.types import DualEncoder
from tests.methods.subgroup.material import changed, state
from tests.tiny_open_clip import RESNET, SIGLIP, WORDED, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers

KINDS = ("tiny", "transformers", "vit", "resnet", "siglip", "transformers siglip")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DualEncoder]:
    folder: Path = tmp_path_factory.mktemp("models")
    resnet = {**RESNET, "text_cfg": WORDED["text_cfg"]}
    return {
        "tiny": tiny_dual_encoder(batch_norm=True),
        "transformers": load(write_transformers(folder / "transformers")).encoder,
        "vit": load(f"local-dir:{write_open_clip(folder / 'vit', WORDED)}").encoder,
        "resnet": load(f"local-dir:{write_open_clip(folder / 'resnet', resnet)}").encoder,
        "siglip": load(f"local-dir:{write_open_clip(folder / 'siglip', SIGLIP)}").encoder,
        "transformers siglip": load(write_siglip(folder / "transformers siglip")).encoder,
    }


def change(model: DualEncoder, rank: int = 2, seed: int = 0, names: set[str] | None = None) -> Adapted:
    groups = [layer for layer in layers(model) if names is None or layer.name in names]
    return adapted(model, groups, rank, 4, rng=torch.Generator().manual_seed(seed))


def images(model: DualEncoder) -> torch.Tensor:
    shape = (3, 3, model.pixels.height, model.pixels.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def shake_(copy: Adapted) -> None:
    rng = torch.Generator().manual_seed(2)
    for parameter in copy.parameters:
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))


def test_a_change_is_the_product_of_its_factors_over_all_axes_but_the_first() -> None:
    weight = torch.zeros(2, 1, 3)
    low = LowRank(weight, rank=1, alpha=3)
    with torch.no_grad():
        low.down.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        low.up.copy_(torch.tensor([[1.0], [10.0]]))
    assert low(weight + 1).tolist() == [[[4.0, 7.0, 10.0]], [[31.0, 61.0, 91.0]]]


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_the_copy_puts_out_what_the_model_does(kind: str, models: dict[str, DualEncoder]) -> None:
    model = models[kind]
    with torch.no_grad():
        torch.testing.assert_close(change(model).encoder.embed_image(images(model)), model.embed_image(images(model)))


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_merged_and_unmerged_are_one_and_every_layer_of_the_tower_can_move(
    kind: str, rank: int, models: dict[str, DualEncoder]
) -> None:
    model, before = models[kind], state(models[kind])
    copy = change(model, rank)
    shake_(copy)
    with torch.no_grad():
        unmerged = copy.encoder.embed_image(images(model))
    unmerged_grad = copy.encoder.embed_image(images(model)).square().sum()
    unmerged_grad.backward()  # type: ignore[no-untyped-call]
    matrices = [p for p in copy.parameters if p.ndim > 1]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in matrices)
    weights = copy.weights()
    write_(model, weights)
    try:
        with torch.no_grad():
            torch.testing.assert_close(model.embed_image(images(model)), unmerged, rtol=1e-4, atol=1e-4)
        # What was not chosen stays bit for bit: the text tower, norms, BatchNorm's statistics.
        moved = {name for name, tensor in state(model).items() if not torch.equal(tensor, before[name])}
        assert moved == set(weights)
        parameters = {id(p) for layer in layers(model) for p in layer.parameters if rank == 0 or p.ndim > 1}
        assert moved == {name for name, p in model.module.named_parameters() if id(p) in parameters}
    finally:
        model.module.load_state_dict(before)


def test_peft_is_where_modules_run_and_a_parametrization_where_functions_read(models: dict[str, DualEncoder]) -> None:
    def parts(kind: str) -> tuple[set[str], set[str]]:
        module = change(models[kind]).encoder.module
        low = {name for name, part in module.named_modules() if parametrize.is_parametrized(part)}
        return {name for name, part in module.named_modules() if hasattr(part, "lora_A")}, low

    by_peft, own = parts("resnet")
    assert own == {f"visual.attnpool.{name}_proj" for name in "qkvc"}
    assert "visual.layer1.0.conv1" in by_peft
    by_peft, own = parts("vit")
    blocks = {f"visual.transformer.resblocks.{i}.attn" for i in range(2)}
    assert own == {"visual", *blocks, *(f"{block}.out_proj" for block in blocks)}
    assert "visual.transformer.resblocks.1.mlp.c_fc" in by_peft
    assert parts("transformers")[1] == set()


def test_a_rank_is_what_it_says(models: dict[str, DualEncoder]) -> None:
    model = models["tiny"]
    copy = change(model, rank=2)
    shake_(copy)
    weight = model.module.get_parameter("image.stem.weight")
    assert torch.linalg.matrix_rank(copy.weights()["image.stem.weight"] - weight, atol=1e-4) == 2


def test_only_what_is_chosen_is_trained(models: dict[str, DualEncoder]) -> None:
    model = models["resnet"]
    copy = change(model, names={"visual.attnpool.k_proj", "visual.layer2.0.conv2"})
    assert set(copy.weights()) == {"visual.attnpool.k_proj.weight", "visual.layer2.0.conv2.weight"}
    assert sum(p.requires_grad for p in copy.encoder.module.parameters()) == len(copy.parameters) == 4


def test_the_seed_alone_decides_and_torchs_own_random_numbers_stay(models: dict[str, DualEncoder]) -> None:
    torch.manual_seed(8)
    before = torch.get_rng_state()
    one, two, other = change(models["tiny"]), change(models["tiny"]), change(models["tiny"], seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state(), two.state(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.state(), other.state(), strict=True))


def test_a_state_is_gone_back_to(models: dict[str, DualEncoder]) -> None:
    copy, again = change(models["tiny"]), change(models["tiny"], seed=1)
    shake_(copy)
    noted = copy.state()
    again.load_(noted)
    assert all(torch.equal(tensor, again.weights()[name]) for name, tensor in copy.weights().items())
    shake_(copy)
    assert any(not torch.equal(a, b) for a, b in zip(noted, copy.state(), strict=True))


def test_the_model_itself_is_left_as_it_is(models: dict[str, DualEncoder]) -> None:
    model = tiny_dual_encoder()
    shake_(change(model))
    assert not changed(model, tiny_dual_encoder())
    assert all(p.requires_grad for p in model.module.parameters())
    assert not any(isinstance(module, LowRank) for module in model.module.modules())
    assert isinstance(model.module.image["stem"], nn.Linear)
