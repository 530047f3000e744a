import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from efface.encoding import encode_classes
from efface.errors import NotFiniteError
from efface.methods.base import Batch, Hooks, Verdict, fit_, noisy_outputs, only_trainable, share_taken_for
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import Checkpoint, Scalar, State, Step, TensorImages, Unkept, Within

KEEP = Hooks(end_of_round=lambda number: Verdict(keep=True, stop=False))


def images(n: int) -> TensorImages:
    return TensorImages(torch.ones(n, 3, 2, 2), torch.arange(n))


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor(1.0))


def linear(w: nn.Parameter, factor: float = 1.0) -> dict[str, Scalar]:
    return {"linear": factor * w}


def test_a_round_takes_one_step_a_batch_along_the_gradient() -> None:
    # The gradient of w is 1 a batch: three steps of 0.1.
    w = weight()
    history = fit_(torch.optim.SGD([w], lr=0.1), lambda: images(3).batches(1), lambda _: linear(w), KEEP, rounds=1)
    assert w.item() == pytest.approx(0.7)
    # Losses 1.0, 0.9, 0.8.
    assert history == [{"round": 0, "loss": pytest.approx(0.9), "kept": True}]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_gradients_add_up_over_accumulated_batches_and_the_last_step_is_not_lost(accumulate: int, steps: int) -> None:
    w, taken = weight(), []
    hooks = Hooks(KEEP.end_of_round, after_step=lambda: bool(taken.append(1)))  # type: ignore[func-returns-value]
    fit_(
        torch.optim.SGD([w], lr=0.1),
        lambda: images(5).batches(1),
        lambda _: linear(w),
        hooks,
        rounds=1,
        accumulate=accumulate,
    )
    assert len(taken) == steps
    # Each batch counts 1 / accumulate, whatever the number of steps.
    assert w.item() == pytest.approx(1 - 0.1 * 5 / accumulate)


def test_terms_are_summed() -> None:
    w = weight()
    fit_(
        torch.optim.SGD([w], lr=0.1),
        lambda: images(1).batches(1),
        lambda _: {"one": 2 * w, "other": 3 * w},
        KEEP,
        rounds=1,
    )
    assert w.item() == pytest.approx(0.5)


def test_a_rejected_round_puts_weights_and_optimiser_back() -> None:
    w = weight()
    optimizer = torch.optim.Adam([w], lr=0.1)
    keeps = iter([True, False])
    hooks = Hooks(end_of_round=lambda number: Verdict(keep=next(keeps), stop=False))
    fit_(optimizer, lambda: images(2).batches(1), lambda _: linear(w), hooks, rounds=1)
    kept, state = w.item(), {k: v.clone() for k, v in optimizer.state[w].items()}
    history = fit_(optimizer, lambda: images(2).batches(1), lambda _: linear(w), hooks, rounds=1)
    assert history[0]["kept"] is False
    assert w.item() == kept
    assert all(torch.equal(optimizer.state[w][k], v) for k, v in state.items())


def test_the_loop_stops_when_told_and_carries_the_notes() -> None:
    w = weight()
    hooks = Hooks(end_of_round=lambda number: Verdict(keep=True, stop=number == 1, notes={"level": 3}))
    history = fit_(torch.optim.SGD([w], lr=0.1), lambda: images(1).batches(1), lambda _: linear(w), hooks, rounds=9)
    assert [step["round"] for step in history] == [0, 1]
    assert all(step["level"] == 3 for step in history)


def test_leaving_a_round_skips_its_other_batches() -> None:
    w = weight()
    hooks = Hooks(KEEP.end_of_round, after_step=lambda: True)
    fit_(torch.optim.SGD([w], lr=0.1), lambda: images(4).batches(1), lambda _: linear(w), hooks, rounds=1)
    assert w.item() == pytest.approx(0.9)


def test_a_masked_gradient_takes_no_step_not_even_of_weight_decay() -> None:
    kept, masked = weight(), weight()

    def mask() -> None:
        masked.grad = None

    def loss(_: Batch) -> dict[str, Scalar]:
        return {"sum": kept + masked}

    optimizer = torch.optim.Adam([kept, masked], lr=0.1, weight_decay=0.5)
    fit_(optimizer, lambda: images(1).batches(1), loss, Hooks(KEEP.end_of_round, after_backward=mask), rounds=1)
    assert masked.item() == 1
    assert kept.item() < 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_named_and_no_step_is_taken(bad: float) -> None:
    w = weight()
    with pytest.raises(NotFiniteError, match=f"the loss term 'second' is {bad} in round 0"):
        fit_(
            torch.optim.SGD([w], lr=0.1),
            lambda: images(1).batches(1),
            lambda _: {"first": 1 * w, "second": w * bad},
            KEEP,
            rounds=1,
        )
    assert w.item() == 1


def test_only_the_groups_asked_for_get_gradients_and_flags_come_back() -> None:
    model = tiny_dual_encoder(steps=0)
    model.module.logit_scale.requires_grad_(False)
    groups = [g for g in model.weights("image") if g.part == "pool"]
    before = {name: p.requires_grad for name, p in model.module.named_parameters()}
    with only_trainable(model.module, groups) as parameters:
        wanted: list[Tensor] = [p for p in model.module.parameters() if p.requires_grad]
        assert {id(p) for p in wanted} == {id(p) for p in parameters}
        assert len(parameters) == 2
    assert {name: p.requires_grad for name, p in model.module.named_parameters()} == before


def test_a_loop_goes_on_from_its_checkpoint_with_the_state_of_the_optimiser() -> None:
    def run(w: nn.Parameter, checkpoint: Checkpoint, rounds: int) -> list[Step]:
        adam = torch.optim.Adam([w], lr=0.1)
        # A gradient that changes with the weight, so that Adam's moments matter.
        return fit_(
            adam, lambda: images(2).batches(1), lambda _: {"square": w * w}, KEEP, rounds=rounds, checkpoint=checkpoint
        )

    noted: list[State] = []

    class Note(Unkept):
        def offer(self, state: Callable[[], State]) -> None:
            noted.append(copy.deepcopy(state()))

    whole, first = weight(), weight()
    history = run(whole, Unkept(), 5)
    run(first, Note(), 3)
    second = nn.Parameter(first.detach().clone())
    assert run(second, Within(Unkept(), noted[-1], dict), 5) == history
    assert torch.equal(second, whole)


def test_outputs_for_noisy_copies_come_with_the_length_of_the_noise_that_is_left_of_it() -> None:
    pixels = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    weight = torch.ones(1, requires_grad=True)
    noisy, distance = noisy_outputs(
        lambda x: weight * x.flatten(1), pixels, 0.7, 4, rng=torch.Generator().manual_seed(1)
    )
    assert noisy.shape == (4, 3, 12)
    assert not noisy.requires_grad
    assert not torch.equal(noisy[0], noisy[1])
    torch.testing.assert_close(distance, (noisy - pixels.flatten(1)).norm(dim=-1))
    assert noisy.min() >= pixels.min()


def test_an_image_that_is_taken_for_another_target_counts_as_recognized() -> None:
    model, classes = tiny_dual_encoder(), encode_classes(tiny_dual_encoder(), tiny_class_tokens())
    found = tiny_images(5, rng=torch.Generator().manual_seed(0), classes=[1, 3])
    assert share_taken_for((1, 3), model, classes, found, 4) == 1
    assert share_taken_for((1,), model, classes, found, 4) == 0.5
    # Texts of two targets that changed places: every image is taken for the other one.
    swapped = classes[[0, 3, 2, 1, 4, 5]]
    assert share_taken_for((1, 3), model, swapped, found, 4) == 1
    assert share_taken_for((0, 2), model, classes, found, 4) == 0
