import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.encoding import encode_classes
from efface.functional.similarity import zero_shot_logits
from efface.methods import method_preset
from efface.methods.ga import PRESETS, Ga, log_share
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import Checkpoint, ForgetData, Silent, State, TensorImages, Trace, Unkept

seeds = st.integers(0, 2**31)
TARGET = 1


def logits(*shape: int, seed: int) -> Tensor:
    return 5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The loss


def test_the_loss_by_hand() -> None:
    # Probabilities 1/4, 1/4, 1/2 and 1/2, 1/4, 1/4: of the first class (log 1/4 + log 1/2) / 2, of the first two
    # (log 1/2 + log 3/4) / 2, of all three nothing.
    given = torch.tensor([[1.0, 1.0, 2.0], [2.0, 1.0, 1.0]]).log()
    assert log_share(given, (0,)).item() == pytest.approx(math.log(1 / 8) / 2)
    assert log_share(given, (0, 1)).item() == pytest.approx(math.log(3 / 8) / 2)
    assert log_share(given, (0, 1, 2)).item() == pytest.approx(0, abs=1e-6)


@given(seeds)
def test_for_one_class_it_is_the_negative_cross_entropy(seed: int) -> None:
    found = logits(4, 5, seed=seed)
    assert log_share(found, (3,)).item() == pytest.approx(-F.cross_entropy(found, torch.full((4,), 3)).item())


@given(seeds, st.floats(-50, 50))
def test_it_is_never_above_zero_grows_with_the_targets_and_is_blind_to_a_shift(seed: int, shift: float) -> None:
    found = logits(4, 5, seed=seed)
    one, two = log_share(found, (1,)).item(), log_share(found, (1, 4)).item()
    assert one < two <= 1e-12
    assert log_share(found + shift, (1,)).item() == pytest.approx(one)
    higher = found.clone()
    higher[:, 1] += 1
    assert log_share(higher, (1,)).item() > one


# The procedure


def data_of(images: int) -> ForgetData:
    found = tiny_images(images, rng=torch.Generator().manual_seed(8), classes=[TARGET])
    return ForgetData((TARGET,), tiny_class_tokens(), forget=found)


def run(
    method: Ga,
    model: TinyDualEncoder | None = None,
    checkpoint: Checkpoint | None = None,
    rng: torch.Generator | None = None,
) -> tuple[Trace, State]:
    model, rng = model or tiny_dual_encoder(), rng or torch.Generator().manual_seed(3)
    trace = method.edit_(model, model, data_of(16), rng=rng, reporter=Silent(), checkpoint=checkpoint)
    return trace, model.module.state_dict()


def test_the_first_step_is_that_of_adamw_down_the_loss_in_the_image_tower_alone() -> None:
    # Untrained: one that is sure of its answers has next to no gradient.
    before, settings = tiny_dual_encoder(steps=0), Ga(learning_rate=1e-3, batch_size=16, max_rounds=1)
    classes = encode_classes(before, tiny_class_tokens())
    forget = data_of(16).forget
    assert isinstance(forget, TensorImages)
    found = zero_shot_logits(before.encode_image(forget.images), classes, before.logit_scale.detach())
    (-F.cross_entropy(found, torch.full((16,), TARGET))).backward()  # type: ignore[no-untyped-call]
    _, after = run(settings, tiny_dual_encoder(steps=0))
    for name, weight in before.module.named_parameters():
        if name.startswith("image."):
            # In Adam's first step both averages are the gradient itself; AdamW shrinks the weight by 0.1 of the rate.
            # Gradients near Adam's eps are left out: there the order of a sum tells.
            assert weight.grad is not None
            clear = weight.grad.abs() > 1e-4
            expected = (1 - 1e-4) * weight.detach() - 1e-3 * weight.grad.sign()
            assert clear.float().mean() > 0.5
            torch.testing.assert_close(after[name][clear], expected[clear], atol=1e-6, rtol=0)
        else:
            assert torch.equal(after[name], weight)


def test_it_ends_with_the_first_step_that_reaches_the_accuracy() -> None:
    trace, _ = run(dataclasses.replace(PRESETS["default"], stop_accuracy=0.5))
    accuracies = [float(step["accuracy"]) for step in trace.steps]  # type: ignore[arg-type]
    assert trace.reached
    assert accuracies[-1] <= 0.5
    assert all(accuracy > 0.5 for accuracy in accuracies[:-1])
    assert f"fell to {accuracies[-1]:.1%} after {len(trace.steps)} rounds" in trace.reason


def test_when_rounds_are_used_up_it_says_how_far_it_came() -> None:
    trace, _ = run(Ga(max_rounds=1))
    assert not trace.reached
    assert trace.reason == "the accuracy on the class's images fell to 100.0% only, not to 10.0% after 1 round"


def test_the_rate_grows_by_its_factor_each_round_up_to_its_cap() -> None:
    grown = Ga(learning_rate=1e-8, learning_rate_growth=10, max_learning_rate=5e-6, max_rounds=5)
    rates = [float(step["learning_rate"]) for step in run(grown)[0].steps]  # type: ignore[arg-type]
    assert rates == pytest.approx([1e-8, 1e-7, 1e-6, 5e-6, 5e-6])
    above = dataclasses.replace(grown, learning_rate=1e-7, max_learning_rate=1e-8, max_rounds=2)
    assert [step["learning_rate"] for step in run(above)[0].steps] == pytest.approx([1e-7, 1e-7])


def test_a_round_that_ends_in_nan_is_taken_back() -> None:
    before = copy.deepcopy(tiny_dual_encoder().module.state_dict())
    trace, after = run(Ga(learning_rate=1e30))
    assert not trace.reached
    assert [step["finite"] for step in trace.steps] == [False]
    assert trace.reason == "a round at a learning rate of 1e+30 made the model answer with NaN and was taken back"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@dataclasses.dataclass
class Noted:
    """Notes what is offered first, with all that the pipeline notes beside it."""

    model: TinyDualEncoder
    rng: torch.Generator
    noted: dict[str, Any] = dataclasses.field(default_factory=dict)

    def take(self) -> None:
        return None

    def offer(self, state: Callable[[], State]) -> None:
        if not self.noted:
            found = {"state": state(), "weights": self.model.module.state_dict(), "rng": self.rng.get_state()}
            self.noted = copy.deepcopy(found)


class Known(Unkept):
    """Hands out what was noted."""

    def __init__(self, state: State) -> None:
        self.state = state

    def take(self) -> State:
        return self.state


def test_it_goes_on_from_a_checkpoint_on_the_same_bits() -> None:
    method = dataclasses.replace(PRESETS["default"], batch_size=4)
    model, rng = tiny_dual_encoder(), torch.Generator().manual_seed(3)
    noted = Noted(model, rng)
    trace, whole = run(method, model, noted, rng)
    assert len(trace.steps) > 2
    resumed, again = tiny_dual_encoder(steps=0), torch.Generator()
    resumed.module.load_state_dict(noted.noted["weights"])
    again.set_state(noted.noted["rng"])
    second, after = run(method, resumed, Known(noted.noted["state"]), again)
    assert second == trace
    assert all(torch.equal(after[name], tensor) for name, tensor in whole.items())


def test_the_settings_without_a_preset_are_those_of_the_published_baseline() -> None:
    s = Ga()
    assert (s.learning_rate, s.weight_decay, s.batch_size, s.max_rounds) == (1e-7, 0.1, 32, 10)
    assert method_preset("ga", "paper") == s
    assert s.needs.forget_images == 64
    assert s.needs.prompt is None


def test_without_images_it_says_what_it_needs() -> None:
    model = tiny_dual_encoder(steps=0)
    data = ForgetData((TARGET,), tiny_class_tokens())
    with pytest.raises(ValueError, match="needs images of the class"):
        Ga().edit_(model, model, data, rng=torch.Generator(), reporter=Silent())
