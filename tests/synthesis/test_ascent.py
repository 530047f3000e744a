"""The published synthesis, held against the constants and formulas that docs/methods/lip.md states."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.encoding import encode_classes
from efface.errors import NotFiniteError
from efface.functional.ascent import accepted, blur
from efface.seeds import draw_seed, seeded
from efface.synthesis import ascent
from efface.synthesis.ascent import IMAGENET, GradientAscent, ascent_objective, displayed
from efface.synthesis.base import Synthesizer, Synthetic
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder
from efface.types import Silent

seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(settings: GradientAscent, count: int = 4, *, model: TinyDualEncoder | None = None, seed: int = 0) -> Synthetic:
    rng = torch.Generator().manual_seed(seed)
    return settings(model or tiny_dual_encoder(), tiny_class_tokens(), 2, count, rng=rng, reporter=Silent())


def test_the_settings_are_the_published_ones() -> None:
    assert dataclasses.asdict(GradientAscent()) == {
        "iterations": 3000,
        "rate": 25.0,
        "l2": 1e-3,
        "jitter": 16,
        "blur_every": 10,
        "blur_sigma": 0.5,
        "threshold": 0.8,
        "threshold_decay": 0.025,
        "threshold_floor": 0.45,
        "acceptance_scale": 100.0,
        "max_failures": 20,
        "at_once": 1,
    }


def test_the_objective_is_the_logit_less_the_weighted_length() -> None:
    # Lengths sqrt(12) and 2 sqrt(12): 5 + 7 - 0.1 * 3 sqrt(12).
    images = torch.ones(2, 3, 2, 2)
    images[1] *= 2
    found = ascent_objective(torch.tensor([5.0, 7.0]), images, 0.1)
    assert found.item() == pytest.approx(12 - 0.3 * math.sqrt(12))


@given(seeds)
def test_each_displayed_image_fills_the_range_over_all_its_channels(seed: int) -> None:
    pixels = displayed(normal(3, 3, 4, 4, seed=seed))
    torch.testing.assert_close(pixels.flatten(1).min(dim=1).values, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(pixels.flatten(1).max(dim=1).values, torch.ones(3, dtype=torch.float64))


def test_one_step_equals_the_published_formula() -> None:
    model = tiny_dual_encoder()
    classes = encode_classes(model, tiny_class_tokens())
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = GradientAscent(jitter=0).step(model, classes, 2, image, rngs=[torch.Generator().manual_seed(0)])

    # The quirk that is kept: what lives in ImageNet's space is normalised once more with the model's statistics.
    variable = image.clone().requires_grad_()
    features = model.embed_image((variable - 0.5) / 0.25)
    cosine = torch.nn.functional.cosine_similarity(features, classes[2:3])
    (model.logit_scale * cosine - 1e-3 * variable.norm()).sum().backward()
    gradient = variable.grad
    assert gradient is not None
    low = ((0 - torch.tensor(IMAGENET.mean)) / torch.tensor(IMAGENET.std)).view(1, 3, 1, 1)
    high = ((1 - torch.tensor(IMAGENET.mean)) / torch.tensor(IMAGENET.std)).view(1, 3, 1, 1)
    expected = torch.clamp(image + 25 * gradient / gradient.norm(), low, high)
    torch.testing.assert_close(found, expected)


def test_jitter_shifts_the_view_and_shifts_back() -> None:
    # Under a shift (x, y) the step equals the step of the shifted image, shifted back.
    model = tiny_dual_encoder()
    classes = encode_classes(model, tiny_class_tokens())
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    x, y = torch.randint(0, 4, (2,), generator=torch.Generator().manual_seed(5)).tolist()
    shifted = GradientAscent(jitter=3).step(model, classes, 2, image, rngs=[torch.Generator().manual_seed(5)])
    still = GradientAscent(jitter=0).step(
        model, classes, 2, image.roll((x, y), dims=(-1, -2)), rngs=[torch.Generator().manual_seed(0)]
    )
    assert (x, y) != (0, 0)
    torch.testing.assert_close(shifted, still.roll((-x, -y), dims=(-1, -2)))


def test_the_first_and_every_tenth_step_end_in_a_blur() -> None:
    model = tiny_dual_encoder()
    classes = encode_classes(model, tiny_class_tokens())
    blurred: list[int] = []

    def image_after(steps: int, settings: GradientAscent) -> Tensor:
        rng = torch.Generator().manual_seed(4)
        image = torch.randn((1, 3, 8, 8), generator=rng)
        for step in range(steps):
            image = settings.step(model, classes, 2, image, rngs=[rng])
            if step % 10 == 0:
                blurred.append(step)
                image = blur(image, settings.blur_sigma)
        return model.pixels.normalize(displayed(image))

    for steps in (1, 5, 12):
        settings = GradientAscent(jitter=2, rate=2.0, iterations=steps)
        found = attempt_to_the_end(settings, model, torch.Generator().manual_seed(4))
        torch.testing.assert_close(found, image_after(steps, settings))
    assert blurred == [0, 0, 0, 10]


def attempt_to_the_end(settings: GradientAscent, model: TinyDualEncoder, rng: torch.Generator) -> Tensor:
    """The image that an attempt would accept in its last step: acceptance is looked at only then."""
    looked = 0

    def only_at_the_end(cosines: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        nonlocal looked
        looked += 1
        return torch.tensor([looked == settings.iterations]), torch.tensor([0.9])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ascent, "accepted", only_at_the_end)
        made = settings(model, tiny_class_tokens(), 2, 1, rng=rng, reporter=Silent())
    assert [step["iterations"] for step in made.trace.steps] == [settings.iterations]
    return made.images


def test_every_image_that_is_handed_out_passes_the_test_when_encoded_again() -> None:
    model, settings = tiny_dual_encoder(), GradientAscent(jitter=2, rate=2.0)
    made = make(settings, 5, model=model)
    assert made.trace.reached
    assert made.images.shape == (5, 3, 8, 8)
    cosines = model.encode_image(made.images).detach() @ encode_classes(model, tiny_class_tokens()).T
    assert accepted(cosines, torch.full((5,), 2), settings.acceptance_scale, settings.threshold)[0].all()


def test_images_are_the_same_for_the_same_seed_and_differ_for_others() -> None:
    settings = GradientAscent(jitter=2, rate=2.0)
    assert torch.equal(make(settings, seed=1).images, make(settings, seed=1).images)
    assert not torch.equal(make(settings, seed=1).images, make(settings, seed=2).images)


HOPELESS = GradientAscent(iterations=1, jitter=0, acceptance_scale=1e-3)
"""An acceptance scale at which no class ever leads by much."""


def test_after_each_failure_the_threshold_falls_to_its_floor_and_the_search_ends_at_the_cap() -> None:
    made = make(HOPELESS)
    thresholds = [float(step["threshold"]) for step in made.trace.steps]  # type: ignore[arg-type]
    expected = [max(0.8 - 0.025 * i, 0.45) for i in range(20)]
    assert thresholds == pytest.approx(expected)
    assert thresholds[13] > thresholds[14] == thresholds[19]
    assert not made.trace.reached
    assert len(made.images) == 0
    assert made.trace.reason == "0 of 4 images were accepted in 20 attempts, the last below a probability of 0.45"


def test_a_success_does_not_raise_the_threshold_again_and_failed_images_are_dropped() -> None:
    # One step is enough for some starts and not for others.
    made = make(GradientAscent(iterations=1, jitter=0, rate=2.0, threshold=0.9), 6)
    thresholds = [float(step["threshold"]) for step in made.trace.steps]  # type: ignore[arg-type]
    won = [bool(step["accepted"]) for step in made.trace.steps]
    assert True in won
    assert False in won
    failures_before = [won[:i].count(False) for i in range(len(won))]
    assert thresholds == pytest.approx([max(0.9 - 0.025 * failures, 0.45) for failures in failures_before])
    assert len(made.images) == sum(won)


def one_after_the_other(settings: GradientAscent, count: int, seed: int) -> tuple[list[Tensor], list[list[object]]]:
    """The procedure as a plain loop; side by side each attempt has random numbers of its own."""
    model = tiny_dual_encoder()
    classes = encode_classes(model, tiny_class_tokens())
    shared, threshold = seeded(seed, torch.device("cpu")), settings.threshold
    own = seeded(draw_seed(seeded(seed, torch.device("cpu"))), torch.device("cpu"))
    images: list[Tensor] = []
    told: list[list[object]] = []
    while len(images) < count and len(told) - len(images) < settings.max_failures:
        rng = shared if settings.at_once == 1 else seeded(draw_seed(own), torch.device("cpu"))
        image, is_won, done = torch.randn((1, 3, 8, 8), generator=rng), False, 0
        while done < settings.iterations and not is_won:
            image = settings.step(model, classes, 2, image, rngs=[rng])
            image = blur(image, settings.blur_sigma) if done % settings.blur_every == 0 else image
            used = model.pixels.normalize(displayed(image))
            cosines = model.encode_image(used).detach() @ classes.T
            won, _ = accepted(cosines, torch.tensor([2]), settings.acceptance_scale, threshold)
            is_won, done = bool(won), done + 1
        told.append([done, pytest.approx(threshold), is_won])
        if is_won:
            images.append(used)
        else:
            threshold = max(threshold - settings.threshold_decay, settings.threshold_floor)
    return images, told


@pytest.mark.parametrize("at_once", [1, 2, 5, 64])
@pytest.mark.parametrize("iterations", [1, 3, 12])
@pytest.mark.parametrize("max_failures", [3, 20])
def test_attempts_side_by_side_end_as_one_after_the_other(at_once: int, iterations: int, max_failures: int) -> None:
    settings = GradientAscent(
        iterations=iterations, jitter=2, rate=2.0, threshold=0.95, max_failures=max_failures, at_once=at_once
    )
    images, told = one_after_the_other(settings, 12, seed=3)
    made = make(settings, 12, seed=3)
    assert [[step["iterations"], step["threshold"], step["accepted"]] for step in made.trace.steps] == told
    # Where steps are few, and failures may be many, there are both.
    assert iterations == 12 or max_failures == 3 or 0 < len(images) < len(told)
    torch.testing.assert_close(made.images, torch.cat([torch.empty(0, 3, 8, 8), *images]))
    assert made.trace.reached == (len(images) == 12)
    assert settings.at_once > 1 or torch.equal(made.images, torch.cat([torch.empty(0, 3, 8, 8), *images]))


def test_what_is_made_next_does_not_depend_on_how_many_attempts_were_begun_in_vain() -> None:
    following = set()
    for at_once in (2, 5, 64):
        rng = torch.Generator().manual_seed(0)
        settings = dataclasses.replace(HOPELESS, at_once=at_once, max_failures=3)
        made = settings(tiny_dual_encoder(), tiny_class_tokens(), 2, 40, rng=rng, reporter=Silent())
        assert made.trace.reason == "0 of 40 images were accepted in 3 attempts, the last below a probability of 0.75"
        following.add(draw_seed(rng))
    assert len(following) == 1


def test_thresholds_end_where_they_stay() -> None:
    assert GradientAscent(threshold_decay=0.0, max_failures=10**9).thresholds() == (0.8,)
    assert GradientAscent(threshold=0.3, max_failures=10**9).thresholds() == (0.3,)
    assert GradientAscent(max_failures=2).thresholds() == pytest.approx((0.8, 0.775))
    assert GradientAscent(max_failures=10**9).thresholds()[-2:] == pytest.approx((0.475, 0.45))


def test_a_model_that_puts_out_nan_is_refused() -> None:
    model = tiny_dual_encoder(steps=0)
    with torch.no_grad():
        model.module.get_parameter("image.stem.bias").fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="the image tower puts out NaN"):
        make(GradientAscent(jitter=2), model=model)


def test_the_model_is_only_read() -> None:
    model = tiny_dual_encoder()
    before = {name: t.clone() for name, t in model.module.state_dict().items()}
    make(GradientAscent(jitter=2), model=model)
    assert all(torch.equal(t, before[name]) for name, t in model.module.state_dict().items())
    assert all(p.grad is None for p in model.module.parameters())


def test_it_is_a_synthesizer() -> None:
    synthesizer: Synthesizer = GradientAscent()
    assert isinstance(synthesizer, Synthesizer)
