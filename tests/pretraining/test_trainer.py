"""A step against torch's own, and what a checkpoint has to hold."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from efface.errors import InputError
from efface.pretraining.batches import Batch, Share
from efface.pretraining.recipe import Recipe, recipe_from
from efface.pretraining.towers import load_initial, write_initial
from efface.pretraining.trainer import Trainer, accelerator_for, decays
from tests.pretraining.recipes import RESNET, tables, tiny_recipe

CAPTIONS = ("dog", "cat", "fox")


@pytest.fixture(autouse=True)
def _own_random_state() -> Any:
    with torch.random.fork_rng(devices=[]):
        yield


def _trainer(folder: Path, recipe: Recipe) -> Trainer:
    if not folder.is_dir():
        write_initial(recipe, CAPTIONS, folder)
    clip = load_initial(recipe, folder, torch.device("cpu"))
    return Trainer(clip, recipe, accelerator_for(recipe.training, "cpu"))


def _batch(trainer: Trainer, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    tokens = trainer.clip.tokenize(CAPTIONS[:2])
    return Batch(torch.randn((3, 3, 32, 32), generator=rng), tokens, torch.eye(2, dtype=torch.bool)[[0, 1, 1]])


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.clip.encoder.module.state_dict().items()}


@pytest.mark.parametrize("family", ["open_clip", "transformers"])
def test_a_step_is_adamw_on_the_loss(tmp_path: Path, family: str) -> None:
    recipe = tiny_recipe(family=family, grad_clip=0.0, weight_decay=0.5, eps=0.1)
    trainer, plain = _trainer(tmp_path / "m", recipe), _trainer(tmp_path / "m", recipe)
    batch, encoder = _batch(trainer), plain.clip.encoder
    named = dict(encoder.module.named_parameters())
    # A large eps: keys' biases have no gradient but for rounding, which Adam would otherwise blow up.
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named.items() if decays(n, p)], "weight_decay": 0.5},
            {"params": [p for n, p in named.items() if not decays(n, p)], "weight_decay": 0.0},
        ],
        lr=1.0,
        betas=(0.9, 0.98),
        eps=0.1,
    )
    # The text that two images share stands twice in the full matrix.
    repeated = encoder.encode_text(batch.tokens)[[0, 1, 1]]
    logits = encoder.logit_scale * encoder.encode_image(batch.images) @ repeated.T
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    known = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    known.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss = trainer.step_(batch, 0, 1.0)
    torch.testing.assert_close(loss, known.detach())
    torch.testing.assert_close(_weights(trainer), _weights(plain), rtol=1e-4, atol=5e-6)


def test_decay_is_for_maps_not_for_gains_biases_and_places() -> None:
    matrix, vector = torch.zeros(2, 2), torch.zeros(2)
    assert decays("visual.transformer.resblocks.0.mlp.c_fc.weight", matrix)
    assert decays("token_embedding.weight", matrix)
    assert not decays("visual.ln_pre.weight", vector)
    for name in ("positional_embedding", "visual.attnpool.positional_embedding", "visual.class_embedding"):
        assert not decays(name, matrix)
    assert not decays("text_model.embeddings.position_embedding.weight", matrix)


def test_gradients_are_clipped_together(tmp_path: Path) -> None:
    # Adam does not see the size of a gradient but through eps: with a huge one it is plain descent on it.
    moved = []
    for clip in (0.0, 1e-3):
        recipe = tiny_recipe(grad_clip=clip, eps=1e6, weight_decay=0.0)
        trainer = _trainer(tmp_path / "m", recipe)
        before = _weights(trainer)
        trainer.step_(_batch(trainer), 0, 1e6)
        after = _weights(trainer)
        moved.append(torch.cat([(after[name] - before[name]).flatten() for name in before]))
    assert moved[1].norm().item() == pytest.approx(1e-3, rel=2e-2)
    assert F.cosine_similarity(moved[0], moved[1], dim=0).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("family", ["open_clip", "transformers"])
def test_what_was_saved_goes_on_the_same_way(tmp_path: Path, family: str) -> None:
    recipe = tiny_recipe(family=family, loss="siglip", ema=0.9)
    first = _trainer(tmp_path / "m", recipe)
    first.step_(_batch(first, 0), 0, 0.01)
    torch.save(first.state(), tmp_path / "state.pt")
    second = _trainer(tmp_path / "m", recipe)
    second.restore_(torch.load(tmp_path / "state.pt", weights_only=True))
    for trainer in (first, second):
        trainer.step_(_batch(trainer, 1), 1, 0.01)
    assert first.bias == second.bias
    assert first.scale == second.scale
    assert all(torch.equal(a, b) for a, b in zip(_weights(first).values(), _weights(second).values(), strict=True))
    with first.judged() as a, second.judged() as b:
        averages = (a.encoder.module.state_dict(), b.encoder.module.state_dict())
        assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])


def test_the_scale_is_kept_below_the_most(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "m", tiny_recipe(logit_scale=3.0, max_logit_scale=2.0))
    trainer.step_(_batch(trainer), 0, 1e-6)
    assert trainer.scale == pytest.approx(2.0)


def test_averages_are_judged_and_weights_are_trained(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "m", tiny_recipe(ema=0.9))
    before = _weights(trainer)
    trainer.step_(_batch(trainer), 0, 0.01)
    after = _weights(trainer)
    with trainer.judged() as clip:
        assert not clip.encoder.module.training
        judged = _weights(trainer)
    assert trainer.clip.encoder.module.training
    assert all(torch.equal(tensor, after[name]) for name, tensor in _weights(trainer).items())
    # At step 0 the decay is (1 + 0) / (10 + 0).
    for name, tensor in judged.items():
        torch.testing.assert_close(tensor, 0.1 * before[name] + 0.9 * after[name])
    assert trainer.finish_() is trainer.clip
    assert all(torch.equal(tensor, judged[name]) for name, tensor in _weights(trainer).items())


def test_batch_norm_learns_in_training_and_rests_in_evaluation(tmp_path: Path) -> None:
    recipe = recipe_from({**tables(channels_last=True), "model": {"family": "open_clip", "config": RESNET}})
    trainer = _trainer(tmp_path / "m", recipe)
    for step in range(3):
        trainer.step_(_batch(trainer, step), step, 0.01)
        with trainer.judged() as clip, torch.no_grad():
            clip.encoder.encode_image(_batch(trainer).images)
    counts = {t.item() for name, t in _weights(trainer).items() if name.endswith("num_batches_tracked")}
    assert counts == {3}


def test_bf16_is_near_fp32(tmp_path: Path) -> None:
    losses = []
    for precision in ("no", "bf16"):
        trainer = _trainer(tmp_path / "m", tiny_recipe(precision=precision))
        losses.append(trainer.step_(_batch(trainer), 0, 0.01).item())
        assert {t.dtype for t in _weights(trainer).values()} == {torch.float32}
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] != losses[1]


def test_what_the_towers_draw_follows_from_the_step(tmp_path: Path) -> None:
    given = tables(family="transformers")
    given["model"]["config"] = {
        **given["model"]["config"],
        "vision_config": {**given["model"]["config"]["vision_config"], "attention_dropout": 0.5},
    }
    recipe = recipe_from(given)
    losses = []
    for step, noise in ((4, 0), (4, 9), (5, 0)):
        trainer = _trainer(tmp_path / "m", recipe)
        torch.manual_seed(noise)
        losses.append(trainer.step_(_batch(trainer), step, 0.01).item())
    assert losses[0] == losses[1] != losses[2]


def test_one_process_has_everything(tmp_path: Path) -> None:
    assert _trainer(tmp_path / "m", tiny_recipe()).share == Share(0, 1)


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        accelerator_for(tiny_recipe(precision="fp16").training, "cpu")


def test_a_batch_that_cannot_be_dealt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(InputError, match="a batch of 4 cannot be dealt to 3 processes"):
        accelerator_for(tiny_recipe().training, "cpu")
