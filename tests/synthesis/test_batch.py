"""Images made many at once: what is handed out passes the test, in order, and nothing is computed twice."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from efface.encoding import encode_classes
from efface.errors import NotFiniteError
from efface.functional.ascent import accepted
from efface.functional.leaves import dead_leaves
from efface.synthesis.base import Synthesizer, Synthetic
from efface.synthesis.batch import DARKEST, BatchAscent
from efface.synthesis.climbing import LARGEST
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder
from efface.types import Checkpoint, Labels, Silent, State


def make(
    settings: BatchAscent,
    targets: list[int],
    *,
    model: TinyDualEncoder | None = None,
    rng: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    must_pass: bool = True,
) -> Synthetic:
    model = model or tiny_dual_encoder()
    return settings.for_targets(
        model,
        encode_classes(model, tiny_class_tokens()),
        torch.tensor(targets),
        rng=rng or torch.Generator().manual_seed(0),
        reporter=Silent(),
        checkpoint=checkpoint,
        must_pass=must_pass,
    )


def passes(images: Tensor, targets: Labels, settings: BatchAscent, threshold: float) -> list[bool]:
    model = tiny_dual_encoder()
    with torch.no_grad():
        cosines = model.encode_image(images) @ encode_classes(model, tiny_class_tokens()).T
    found: list[bool] = accepted(cosines, targets, settings.acceptance_scale, threshold)[0].tolist()
    return found


def test_it_is_a_synthesizer_for_one_class() -> None:
    settings = BatchAscent()
    assert isinstance(settings, Synthesizer)
    rng = torch.Generator().manual_seed(0)
    made = settings(tiny_dual_encoder(), tiny_class_tokens(), 2, 5, rng=rng, reporter=Silent())
    assert made.trace.reached
    assert torch.equal(made.images, make(settings, [2] * 5).images)


def test_every_image_passes_the_test_for_its_own_class_when_encoded_again_and_lies_in_the_range_of_pixels() -> None:
    settings = BatchAscent(batch_size=3)
    targets = torch.tensor([0, 2, 1, 1, 0, 2, 2])
    made = make(settings, targets.tolist())
    assert made.trace.reached
    assert all(passes(made.images, targets, settings, settings.threshold))
    pixels = tiny_dual_encoder().pixels.denormalize(made.images)
    bound = torch.sigmoid(torch.tensor(LARGEST)) + 1e-5
    assert pixels.min() >= 1 - bound
    assert pixels.max() <= bound


def test_each_step_encodes_what_still_climbs_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = tiny_dual_encoder(), []
    encode = TinyDualEncoder.encode_image

    def counted(self: TinyDualEncoder, images: Tensor) -> Tensor:
        sizes.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(TinyDualEncoder, "encode_image", counted)
    made = make(BatchAscent(batch_size=4), [2] * 9, model=model)
    # One encoding a step of each image: the sum over attempts, and never more than fit at once.
    assert sum(sizes) == sum(
        int(step["iterations"]) for step in made.trace.steps if isinstance(step["iterations"], int)
    )
    assert max(sizes) == 4
    assert len(made.trace.steps) == 9


@pytest.mark.parametrize("steps", [1, 7])
def test_no_image_leaves_before_its_steps_and_an_easy_one_right_after_them(steps: int) -> None:
    made = make(BatchAscent(steps=steps, threshold=0.3, threshold_floor=0.1), [2] * 5)
    assert made.trace.reached
    taken = [int(str(step["iterations"])) for step in made.trace.steps]
    assert min(taken) == steps
    # Another step than the last may have been the best: what is handed out is what was sure.
    assert all(passes(made.images, torch.tensor([2] * 5), BatchAscent(), 0.3))


def test_where_none_must_pass_each_is_taken_after_its_steps_whatever_the_model_says() -> None:
    hopeless = BatchAscent(threshold=0.99, acceptance_scale=1e-3, steps=3, batch_size=4)
    made = make(hopeless, [0, 5, 3, 1, 0], must_pass=False)
    assert made.trace.reached
    assert len(made.images) == 5
    assert [step["iterations"] for step in made.trace.steps] == [3] * 5
    # They are in the order that was asked for: after more steps, each is of its class.
    nearer = make(BatchAscent(batch_size=2), [0, 5, 3, 1, 0], must_pass=False)
    assert all(passes(nearer.images, torch.tensor([0, 5, 3, 1, 0]), BatchAscent(), 0.5))


def test_what_it_begins_as_is_what_the_first_step_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny_dual_encoder(), []
    encode = TinyDualEncoder.encode_image

    def noted(self: TinyDualEncoder, images: Tensor) -> Tensor:
        seen.append(model.pixels.denormalize(images.detach()))
        return encode(self, images)

    monkeypatch.setattr(TinyDualEncoder, "encode_image", noted)
    for start in ("leaves", "noise"):
        make(BatchAscent(start=start, steps=1, jitter=0), [1] * 16, model=model, must_pass=False)
    leaves, noise = seen
    expected = dead_leaves(16, 8, 8, rng=torch.Generator().manual_seed(0)).clamp(DARKEST, 1 - DARKEST)
    torch.testing.assert_close(leaves, expected, atol=1e-5, rtol=0)
    normal = torch.randn((16, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise, normal.sigmoid(), atol=1e-5, rtol=0)


class Stopped(Exception):
    """The search is stopped here."""


class Noting:
    """A checkpoint: goes on from what is known, and stops after a step with what it noted of it."""

    def __init__(self, rng: torch.Generator, known: State | None = None, stop_after: int | None = None) -> None:
        self.rng, self.known, self.left = rng, known, stop_after
        self.offers = 0

    def take(self) -> State | None:
        return self.known

    def offer(self, make: Callable[[], State]) -> None:
        self.offers += 1
        if self.offers == self.left:
            # As in a file: nothing is shared with the search.
            self.known = copy.deepcopy({**make(), "rng": self.rng.get_state()})
            raise Stopped


def test_a_search_stopped_after_any_step_goes_on_to_the_same_bits() -> None:
    # Some pass at once, some need more steps, and some fail and are begun anew.
    settings = BatchAscent(steps=2, iterations=3, batch_size=2, threshold=0.9, threshold_floor=0.6, max_failures=9)
    targets = [0, 5, 2, 1]
    rng = torch.Generator().manual_seed(0)
    count = Noting(rng)
    whole = make(settings, targets, rng=rng, checkpoint=count)
    assert {step["accepted"] for step in whole.trace.steps} == {True, False}
    assert count.offers > 5
    for stop_after in range(1, count.offers + 1):
        rng = torch.Generator().manual_seed(0)
        stopped = Noting(rng, stop_after=stop_after)
        with pytest.raises(Stopped):
            make(settings, targets, rng=rng, checkpoint=stopped)
        assert stopped.known is not None
        rng = torch.Generator()
        rng.set_state(stopped.known["rng"])
        again = make(settings, targets, rng=rng, checkpoint=Noting(rng, stopped.known))
        assert torch.equal(again.images, whole.images)
        assert again.trace == whole.trace


def test_no_weight_gets_a_gradient_and_what_needed_one_needs_it_still() -> None:
    model = tiny_dual_encoder()
    first, *rest = model.module.parameters()
    first.requires_grad_(False)
    make(BatchAscent(), [1, 2], model=model)
    assert all(p.grad is None for p in model.module.parameters())
    assert not first.requires_grad
    assert all(p.requires_grad for p in rest)


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    one, again, other = (
        make(BatchAscent(), [1, 2], rng=torch.Generator().manual_seed(seed)).images for seed in (3, 3, 4)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_threshold_falls_by_itself_for_a_class_that_is_hard_to_reach() -> None:
    # With a scale of 4 no probability comes near 0.99.
    hard = BatchAscent(threshold=0.99, threshold_floor=0.4, acceptance_scale=4.0, steps=5, iterations=5, batch_size=2)
    made = make(hard, [2] * 6)
    thresholds = [float(str(step["threshold"])) for step in made.trace.steps]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] < 0.99
    assert made.trace.reached
    # What was taken below the threshold is above the floor, and the class is the first choice.
    assert all(passes(made.images, torch.tensor([2] * 6), hard, 0.4))
    assert all(step["iterations"] == 5 for step in made.trace.steps)


def test_a_search_without_success_ends_and_says_so() -> None:
    hopeless = BatchAscent(
        threshold=0.99, threshold_floor=0.98, acceptance_scale=1e-3, steps=2, iterations=2, max_failures=3
    )
    made = make(hopeless, [2] * 2)
    assert not made.trace.reached
    assert made.images.shape == (0, 3, 8, 8)
    assert made.trace.reason.startswith("0 of 2 images were accepted in ")
    assert made.trace.reason.endswith(" attempts, the last not above a probability of 0.98")


def test_images_that_fail_leave_the_others_in_the_order_in_which_they_were_wanted() -> None:
    model = tiny_dual_encoder()
    classes = encode_classes(model, tiny_class_tokens())
    # No image is nearest to the mean of all: one of them is nearer.
    unreachable = torch.cat([classes, classes.mean(dim=0, keepdim=True)])
    rng = torch.Generator().manual_seed(0)
    settings = BatchAscent(steps=20, iterations=20, max_failures=2, threshold=0.6)
    made = settings.for_targets(model, unreachable, torch.tensor([0, len(classes), 1]), rng=rng, reporter=Silent())
    assert not made.trace.reached
    assert passes(made.images, torch.tensor([0, 1]), settings, 0.6) == [True, True]


def test_features_that_are_not_finite_are_an_error() -> None:
    model = tiny_dual_encoder()
    with torch.no_grad():
        next(iter(model.weights("image")[-1].parameters)).fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="image tower"):
        make(BatchAscent(), [1], model=model)
    assert all(p.requires_grad for p in model.module.parameters())


def test_an_image_has_no_fewer_steps_at_most_than_at_least() -> None:
    with pytest.raises(ValueError, match="steps is 20, iterations is 19: it must be as many or more"):
        BatchAscent(iterations=19)
