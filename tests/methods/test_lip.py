"""The published procedure, held against the constants and formulas that docs/methods/lip.md states."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from efface.methods import method_preset
from efface.methods.base import add_noise, largest_gradients
from efface.methods.lip import NOISE, SCHEDULES, Lip
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, PixelSpace, Silent, TensorImages, Tower, Trace, WeightGroup

seeds = st.integers(0, 2**31)
TARGET = 1


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Noise and selection


@given(seeds, st.floats(0.01, 3))
def test_noise_stays_between_the_least_and_the_largest_value_of_the_batch(seed: int, sigma: float) -> None:
    images = normal(3, 3, 4, 4, seed=seed)
    noisy = add_noise(images, sigma, rng=torch.Generator().manual_seed(seed))
    assert noisy.min() >= images.min()
    assert noisy.max() <= images.max()
    assert not torch.equal(noisy, images)


def test_small_noise_has_its_standard_deviation() -> None:
    images = torch.zeros(64, 3, 16, 16)
    images[0, 0, 0, :2] = torch.tensor([-10.0, 10.0])
    noise = (add_noise(images, 0.3, rng=torch.Generator().manual_seed(0)) - images)[1:]
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


def group(name: str, gradient: list[float] | None) -> WeightGroup:
    parameter = nn.Parameter(torch.zeros(len(gradient or [0.0])))
    parameter.grad = None if gradient is None else torch.tensor(gradient)
    return WeightGroup(name, "blocks", False, (parameter,))


def test_groups_are_ranked_by_their_mean_absolute_gradient() -> None:
    # Means of absolute values 2, 3 and 1; their sums 6, 3 and 4, and the sums without signs 2, 3 and 4, would rank them
    # otherwise. One without a gradient takes no slot.
    groups = [
        group("a", [-2.0, 2.0, 2.0]),
        group("none", None),
        group("b", [3.0]),
        group("c", [1.0, 1.0, 1.0, 1.0]),
    ]
    assert [g.name for g in largest_gradients(groups, 2)] == ["b", "a"]
    assert [g.name for g in largest_gradients(groups, 9)] == ["b", "a", "c"]


def test_a_weight_split_in_three_is_ranked_as_the_whole() -> None:
    whole = group("qkv", [3.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    parts = tuple(p for part in ([3.0, 3.0], [0.0, 0.0], [0.0, 0.0]) for p in group("", part).parameters)
    split = WeightGroup("split", "blocks", False, parts)
    between = group("between", [2.0])  # above the whole's mean 1, below the mean 3 of its first part
    assert [g.name for g in largest_gradients([whole, between], 1)] == ["between"]
    assert [g.name for g in largest_gradients([split, between], 1)] == ["between"]


# The constants


def test_the_settings_without_a_preset_are_the_published_ones() -> None:
    assert dataclasses.asdict(Lip()) == {
        "images": 64,
        "noise": (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0),
        "samples": 25,
        "image_tensors": None,
        "text_tensors": None,
        "convolutions": "frozen",
        "terms": "joint",
        "prompt": "A picture of {}",
        "learning_rate": 5e-5,
        "learning_rate_growth": 1.0,
        "max_learning_rate": 1e-2,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.2,
        "batch_size": 64,
        "accumulate": 5,
        "max_rounds": 30,
        "stop_accuracy": 0.1,
        "rounds": "iterative",
        "keep_rejected": True,
    }
    assert method_preset("lip", "paper") == Lip()


def test_the_schedules_are_the_published_ones() -> None:
    assert SCHEDULES["resnet"] == {"image": (5, 7, 10, 13, 15, 20, 25), "text": (5, 7, 12, 18, 25, 30, 35)}
    assert SCHEDULES["vit"]["image"] == SCHEDULES["vit"]["text"] == (25, 27, 30, 33, 35, 40, 45)
    assert Lip().schedule(tiny_dual_encoder(steps=0)) == tuple(SCHEDULES["vit"].values())
    assert Lip().schedule(tiny_dual_encoder(steps=0, batch_norm=True)) == tuple(SCHEDULES["resnet"].values())


def test_in_a_resnet_only_the_attention_pool_may_move_and_in_a_transformer_all() -> None:
    image, text = Lip().candidates(tiny_dual_encoder(steps=0, batch_norm=True))
    assert [g.name for g in image] == ["image.pool.weight", "image.pool.bias"]
    assert [g.name for g in text] == ["text.block.weight", "text.block.bias"]
    image, _ = Lip().candidates(tiny_dual_encoder(steps=0))
    assert len(image) == 5
    image, _ = Lip(convolutions="free").candidates(tiny_dual_encoder(steps=0, batch_norm=True))
    assert [g.name for g in image if ".norm." in g.name] == []
    assert len(image) == 5


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"image_tensors": (1, 2)}, "image_tensors has 2 entries for 7 noise levels"),
        ({"noise": (0.1,)}, "need image_tensors and text_tensors too"),
        ({"image_tensors": (1,) * 3, "noise": (0.1, 0.2, 0.3)}, "need image_tensors and text_tensors too"),
        ({"noise": (0.0,) * 7}, "noise"),
        ({"text_tensors": (-1,) * 7}, "text_tensors"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"prompt": "a picture"}, "prompt"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"max_learning_rate": float("inf")}, "max_learning_rate"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Lip(**settings)  # type: ignore[arg-type]


# The procedure


def run(method: Lip, *, batch_norm: bool = False, seed: int = 3) -> tuple[Trace, dict[str, Tensor], dict[str, Tensor]]:
    """The trace on the tiny world, and the weights before and after."""
    model = tiny_dual_encoder(batch_norm=batch_norm)
    before = {name: t.clone() for name, t in model.module.state_dict().items()}
    images = tiny_images(method.images, rng=torch.Generator().manual_seed(8), classes=[TARGET])
    data = ForgetData((TARGET,), tiny_class_tokens(), torch.tensor([[TARGET]]), images)
    rng = torch.Generator().manual_seed(seed)
    trace = method.edit_(model, tiny_dual_encoder(batch_norm=batch_norm), data, rng=rng, reporter=Silent())
    return trace, before, dict(model.module.state_dict())


def test_of_several_targets_each_text_moves_and_an_image_taken_for_another_target_is_not_forgotten() -> None:
    model = tiny_dual_encoder()
    before = model.embed_text(torch.tensor([[0], [1]])).detach()
    images = tiny_images(8, rng=torch.Generator().manual_seed(8), classes=[0, 1])
    # Every image is labelled as the other of the two: the model takes it for a target all the same.
    data = ForgetData(
        (1, 0), tiny_class_tokens(), torch.tensor([[1], [0]]), TensorImages(images.images, 1 - images.labels)
    )
    hopeless = dataclasses.replace(HOPELESS, max_rounds=1)
    trace = hopeless.edit_(model, model, data, rng=torch.Generator().manual_seed(0), reporter=Silent())
    assert [step["accuracy"] for step in trace.steps] == [1.0]
    strong = Lip(images=8, samples=2, learning_rate=3e-2, weight_decay=0.0, stop_accuracy=0.3)
    trace = strong.edit_(model, model, data, rng=torch.Generator().manual_seed(0), reporter=Silent())
    assert trace.reached
    moved = (model.embed_text(torch.tensor([[0], [1]])) - before).norm(dim=1)
    assert moved.min() > 1e-3


HOPELESS = Lip(images=8, samples=2, learning_rate=1e-9)
"""A step too small to change any answer."""


def test_each_round_without_progress_raises_the_noise_and_after_seven_it_ends() -> None:
    trace, _, _ = run(HOPELESS)
    assert [step["noise"] for step in trace.steps] == list(NOISE)
    assert [step["kept"] for step in trace.steps] == [False] * 6 + [True]
    assert not trace.reached
    assert trace.reason.startswith("nothing was forgotten")


def test_the_number_of_tensors_follows_the_schedule() -> None:
    trace, _, _ = run(
        dataclasses.replace(HOPELESS, image_tensors=(1, 2, 3, 4, 5, 5, 1), text_tensors=(2, 1, 0, 2, 1, 0, 2))
    )
    moved = [[str(name).split(".")[0] for name in step["tensors"]] for step in trace.steps]  # type: ignore[union-attr]
    assert [(names.count("image"), names.count("text")) for names in moved] == list(
        zip((1, 2, 3, 4, 5, 5, 1), (2, 1, 0, 2, 1, 0, 2), strict=True)
    )


def test_rejected_rounds_are_rolled_back_bit_for_bit() -> None:
    _, before, after = run(dataclasses.replace(HOPELESS, learning_rate=1e-4, keep_rejected=False))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_as_published_a_run_without_progress_ends_on_its_last_rejected_round() -> None:
    trace, before, after = run(dataclasses.replace(HOPELESS, learning_rate=1e-4))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(trace.steps[-1]["tensors"])  # type: ignore[arg-type]
    # Adam's first step is the learning rate long in every weight, here to 2 %: eps is 1e-6.
    steps = torch.cat([(after[name] - before[name]).abs().flatten() for name in moved])
    assert steps.max().item() == pytest.approx(1e-4, rel=0.02)


def test_with_a_growing_rate_only_the_last_rejected_round_of_all_is_kept() -> None:
    trace, _, _ = run(dataclasses.replace(HOPELESS, learning_rate_growth=10.0, max_learning_rate=1.5e-8, max_rounds=2))
    assert [step["kept"] for step in trace.steps] == [False, False, False, True]
    assert "the last rejected round was kept" in trace.reason


def test_a_round_that_ends_in_nan_is_rejected_whatever_it_would_score() -> None:
    # Steps of 1e30 overflow in float32: the model answers with NaN, whose nearest class would be any.
    # Several steps a round: it ends with the first, before a loss of NaN is met.
    for batch_size in (64, 1):
        for keep_rejected in (False, True):
            broken = {"learning_rate": 1e30, "max_rounds": 2, "batch_size": batch_size, "keep_rejected": keep_rejected}
            trace, before, after = run(dataclasses.replace(HOPELESS, **broken))  # type: ignore[arg-type]
            assert not trace.reached
            assert [step["finite"] for step in trace.steps] == [False, False]
            assert all(torch.equal(before[name], after[name]) for name in before)


def test_progress_is_kept_and_the_run_stops_at_the_threshold() -> None:
    settings = Lip(images=16, samples=4, learning_rate=3e-2, weight_decay=0.0, stop_accuracy=0.3)
    trace, before, after = run(settings)
    kept = [step["accuracy"] for step in trace.steps if step["kept"]]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == len(kept)
    assert trace.reached
    assert float(kept[-1]) <= 0.3  # type: ignore[arg-type]
    assert all(float(accuracy) > 0.3 for accuracy in kept[:-1])  # type: ignore[arg-type]
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_fixed_rounds_are_all_kept_at_the_first_level_whatever_they_come_to() -> None:
    # Some go past the threshold at which a run of judged rounds ends.
    method = Lip(
        images=16, samples=4, learning_rate=3e-2, weight_decay=0.0, stop_accuracy=0.9, rounds="fixed", max_rounds=4
    )
    trace, before, after = run(method)
    assert [step["kept"] for step in trace.steps] == [True] * 4
    assert {step["noise"] for step in trace.steps} == {NOISE[0]}
    assert any(float(step["accuracy"]) <= 0.9 for step in trace.steps[:-1])  # type: ignore[arg-type]
    assert trace.reached == (float(trace.steps[-1]["accuracy"]) <= 0.9)  # type: ignore[arg-type]
    assert any(not torch.equal(before[name], after[name]) for name in before)
    hopeless, _, _ = run(dataclasses.replace(HOPELESS, rounds="fixed", max_rounds=2))
    assert [step["kept"] for step in hopeless.steps] == [True, True]
    assert not hopeless.reached


@pytest.mark.parametrize("tower", ["image", "text"])
def test_one_term_alone_moves_its_own_tower_alone(tower: Literal["image", "text"]) -> None:
    trace, before, after = run(dataclasses.replace(HOPELESS, learning_rate=1e-4, terms=tower, max_rounds=1))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(trace.steps[-1]["tensors"])  # type: ignore[arg-type]
    assert {name.split(".")[0] for name in moved} == {tower}


def test_the_cap_on_rounds_holds() -> None:
    trace, _, _ = run(dataclasses.replace(HOPELESS, max_rounds=3))
    assert len(trace.steps) == 3
    assert [step["kept"] for step in trace.steps] == [False, False, True]


def test_a_growing_learning_rate_goes_on_where_the_published_run_ends() -> None:
    settings = Lip(
        images=16, samples=4, learning_rate=1e-6, learning_rate_growth=100.0, weight_decay=0.0, max_learning_rate=0.1
    )
    trace, _, _ = run(settings)
    rates = [float(step["learning_rate"]) for step in trace.steps]  # type: ignore[arg-type]
    assert rates[:7] == [1e-6] * 7
    assert rates[7] == pytest.approx(1e-4)
    assert list(settings.learning_rates()) == pytest.approx([1e-6, 1e-4, 1e-2])
    assert trace.reached


@pytest.mark.parametrize(("images", "batch", "steps"), [(16, 4, 1), (24, 4, 2), (8, 8, 1)])
def test_up_to_five_batches_make_one_step(images: int, batch: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    step = torch.optim.Adam.step

    def counted(self: torch.optim.Adam) -> None:
        if self.defaults["eps"] == Lip().eps:  # not the training of the tiny model
            taken.append(1)
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    run(dataclasses.replace(HOPELESS, images=images, batch_size=batch, max_rounds=1))
    assert len(taken) == steps


TOY_PIXELS = PixelSpace((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1, 2)


@dataclass(frozen=True, slots=True)
class Toy:
    """Linear towers: an image embedding is ``W x + b``, a text embedding a row of ``V``."""

    module: nn.Module
    pixels: PixelSpace = TOY_PIXELS
    precision: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(10.0)

    def embed_image(self, images: Tensor) -> Tensor:
        weight, bias = (self.module.get_parameter(name) for name in ("W", "b"))
        return images.flatten(1) @ weight.T + bias

    def embed_text(self, tokens: Tensor) -> Tensor:
        return self.module.get_parameter("V")[tokens[:, 0]]

    def encode_image(self, images: Tensor) -> Tensor:
        return F.normalize(self.embed_image(images), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.embed_text(tokens), dim=-1)

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        names = ("W", "b") if tower == "image" else ("V",)
        return tuple(WeightGroup(n, "blocks", False, (self.module.get_parameter(n),)) for n in names)

    def image_blocks(self) -> tuple[nn.Module, ...]:
        return ()

    def fold_image_map_(self, matrix: Tensor) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("image_tensors", "moved"), [((1,), "b"), ((2,), "Wb")])
def test_one_whole_round_equals_an_update_computed_by_hand(image_tensors: tuple[int, ...], moved: str) -> None:
    rng = torch.Generator().manual_seed(0)
    W, b, V, x = (torch.randn(shape, generator=rng) for shape in ((3, 6), (3,), (2, 3), (4, 3, 1, 2)))
    module = nn.Module()
    for name, value in (("W", W), ("b", b), ("V", V)):
        module.register_parameter(name, nn.Parameter(value.clone()))
    method = Lip(
        images=4,
        noise=(0.5,),
        samples=3,
        image_tensors=image_tensors,
        text_tensors=(1,),
        learning_rate=0.01,
        max_rounds=1,
    )
    data = ForgetData((1,), torch.tensor([[[0]], [[1]]]), torch.tensor([[1]]), TensorImages(x, torch.ones(4).long()))
    method.edit_(Toy(module), Toy(module), data, rng=torch.Generator().manual_seed(7), reporter=Silent())

    # The same draws: first the order of the images, then the noise of each copy.
    rng = torch.Generator().manual_seed(7)
    x = x[torch.randperm(4, generator=rng)]
    grad_W, grad_b, grad_V = torch.zeros(3, 6), torch.zeros(3), torch.zeros(2, 3)
    for _ in range(3):
        copies = (x + 0.5 * torch.randn(x.shape, generator=rng)).clamp(x.min(), x.max())
        for i in range(4):
            clean, noisy = W @ x[i].flatten() + b, W @ copies[i].flatten() + b
            distance = (copies[i] - x[i]).norm()
            # L = 1/(4 S) sum (d_text + d_image) / distance; a distance grows along the unit vector between its ends.
            pull = (clean - noisy) / (clean - noisy).norm() / distance / (4 * 3)
            grad_W += torch.outer(pull, x[i].flatten())
            grad_b += pull
            grad_V[1] += (V[1] - noisy) / (V[1] - noisy).norm() / distance / (4 * 3)
    assert grad_b.abs().mean() > grad_W.abs().mean(), "the case is chosen so that one tensor of two means b"

    def adam(value: Tensor, gradient: Tensor) -> Tensor:
        # Coupled decay: it is part of the gradient. In Adam's first step both averages are the gradient itself.
        gradient = gradient + 0.2 * value
        return value - 0.01 * gradient / (gradient.abs() + 1e-6)

    torch.testing.assert_close(module.get_parameter("V").detach(), adam(V, grad_V))
    torch.testing.assert_close(module.get_parameter("b").detach(), adam(b, grad_b))
    torch.testing.assert_close(module.get_parameter("W").detach(), adam(W, grad_W) if "W" in moved else W)


def test_without_images_it_says_what_it_needs() -> None:
    model = tiny_dual_encoder(steps=0)
    with pytest.raises(ValueError, match="LIP needs images of the class"):
        Lip().edit_(
            model,
            model,
            ForgetData((TARGET,), tiny_class_tokens()),
            rng=torch.Generator(),
            reporter=Silent(),
        )


def some_recognized(known: int, others: int) -> ForgetData:
    """Images that are said to be of the class: some are, the others are of another and taken for that."""
    rng = torch.Generator().manual_seed(5)
    of = torch.cat([tiny_images(n, rng=rng, classes=[c]).images for n, c in ((known, TARGET), (others, TARGET + 1))])
    images = TensorImages(of, torch.full((known + others,), TARGET))
    return ForgetData((TARGET,), tiny_class_tokens(), tiny_class_tokens()[TARGET], images)


@pytest.mark.parametrize("keep_rejected", [False, True])
def test_a_round_that_leaves_as_many_recognized_as_there_were_is_rejected(keep_rejected: bool) -> None:
    method = dataclasses.replace(HOPELESS, keep_rejected=keep_rejected)
    trace = method.edit_(
        tiny_dual_encoder(),
        tiny_dual_encoder(),
        some_recognized(6, 2),
        rng=torch.Generator().manual_seed(1),
        reporter=Silent(),
    )
    assert {step["accuracy"] for step in trace.steps} == {0.75}
    # All but the last, which is kept as published.
    assert [step["kept"] for step in trace.steps] == [False] * (len(trace.steps) - 1) + [keep_rejected]
    assert trace.reason.startswith("nothing was forgotten: no round helped")


def test_images_that_are_not_recognized_leave_nothing_to_do() -> None:
    model = tiny_dual_encoder()
    trace = Lip(keep_rejected=True).edit_(
        model, tiny_dual_encoder(), some_recognized(0, 3), rng=torch.Generator(), reporter=Silent()
    )
    assert trace == Trace((), reached=True, reason=trace.reason)
    assert trace.reason == "the accuracy on the class's images was 0.0% already: the weights are as they were"
    after = tiny_dual_encoder().module.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in model.module.state_dict().items())
