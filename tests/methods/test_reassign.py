"""What the default of lip trains and leaves alone, what it says of itself, and that it goes on where it was stopped."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from efface.cut import CutTower
from efface.encoding import encode_classes, predict
from efface.functional.augment import varied
from efface.methods import pool, words
from efface.methods.attempts import FIRMER, WEAKER
from efface.methods.base import ForgetMethod
from efface.methods.handing import FIRM
from efface.methods.reassign import JUDGED, ROUND, Reassign
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Needs, Silent, State, TensorImages, Trace
from tests.test_cut import clip

TARGET = 2
SMALL = Reassign(
    images=16,
    guard_images=24,
    leaves=16,
    copies=1,
    steps=60,
    batch_size=16,
    guard_batch_size=32,
    learning_rate=1e-2,
    text_steps=0,
)


def material(*, targets: tuple[int, ...] = (TARGET,), guard: bool = True) -> ForgetData:
    rng = torch.Generator().manual_seed(8)
    others = [c for c in range(6) if c not in targets]
    forget = tiny_images(SMALL.images, rng=rng, classes=targets)
    return ForgetData(
        targets, tiny_class_tokens(), None, forget, tiny_images(5, rng=rng, classes=others) if guard else None
    )


def edit(
    method: Reassign = SMALL,
    *,
    model: TinyDualEncoder | None = None,
    data: ForgetData | None = None,
    batch_norm: bool = False,
    rng: torch.Generator | None = None,
    checkpoint: Any = None,
) -> tuple[Trace, TinyDualEncoder]:
    model = model or tiny_dual_encoder(batch_norm=batch_norm)
    reference = tiny_dual_encoder(batch_norm=batch_norm)
    rng = rng or torch.Generator().manual_seed(3)
    trace = method.edit_(model, reference, data or material(), rng=rng, reporter=Silent(), checkpoint=checkpoint)
    return trace, model


@cache
def edited() -> tuple[Trace, TinyDualEncoder]:
    """An edit that tests look at, which change nothing in it."""
    return edit()


def state(model: TinyDualEncoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def shares(model: TinyDualEncoder, targets: tuple[int, ...] = (TARGET,)) -> tuple[float, float]:
    """Right answers on images of the targets and of the other classes, which nobody was trained on."""
    held_out = tiny_images(40, rng=torch.Generator().manual_seed(99))
    right = predict(model, held_out.images, encode_classes(model, tiny_class_tokens())) == held_out.labels
    of_target = torch.isin(held_out.labels, torch.tensor(targets))
    return right[of_target].double().mean().item(), right[~of_target].double().mean().item()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("targets", [(2,), (4, 1)])
def test_the_classes_go_and_the_others_stay(batch_norm: bool, targets: tuple[int, ...]) -> None:
    before = shares(tiny_dual_encoder(batch_norm=batch_norm), targets)
    trace, model = edit(data=material(targets=targets), batch_norm=batch_norm)
    after = shares(model, targets)
    assert trace.reached, trace.reason
    assert ("of 2 names no name has more than" in trace.reason) == (len(targets) > 1)
    assert before[0] > 0.9
    assert after[0] < 0.15
    assert after[1] > before[1] - 0.05


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_tail_moves_and_all_else_stays_bit_for_bit(batch_norm: bool, blocks: int) -> None:
    before = state(tiny_dual_encoder(batch_norm=batch_norm))
    method = dataclasses.replace(SMALL, blocks=blocks, steps=5)
    _, model = edit(method, batch_norm=batch_norm)
    moved = {name.rsplit(".", 1)[0] for name, tensor in state(model).items() if not torch.equal(tensor, before[name])}
    # Two blocks are all that there are: then the layers before them move too, BatchNorm's weights and statistics never.
    tail = {"image.pool", "image.projection"}
    assert moved == (tail if blocks == 1 else tail | {"image.stem"})
    assert not model.module.training
    assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one = state(edited()[1])
    torch.manual_seed(2)
    again, other = state(edit()[1]), state(edit(rng=torch.Generator().manual_seed(4))[1])
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_class_falls_behind_and_the_farther_the_greater_the_strength() -> None:
    reference = tiny_dual_encoder()
    images = tiny_images(8, rng=torch.Generator().manual_seed(9), classes=[TARGET])

    def lead(strength: float | None) -> float:
        model = reference if strength is None else edit(dataclasses.replace(SMALL, strength=strength))[1]
        with torch.no_grad():
            cosines = model.encode_image(images.images) @ encode_classes(reference, tiny_class_tokens()).T
        others = cosines.index_fill(1, torch.tensor([TARGET]), -torch.inf).max(dim=1).values
        return (cosines[:, TARGET] - others).mean().item()

    before, level, behind = lead(None), lead(0.0), lead(2.0)
    assert behind < level - 0.2 < before - 0.4


def test_a_goal_that_is_missed_is_said_so() -> None:
    trace, _ = edit(dataclasses.replace(SMALL, learning_rate=1e-9, steps=1))
    assert not trace.reached
    assert trace.reason == (
        "100.0% of the 16 images of the class that were worked on are answered with it, 100.0% of the surer half of "
        "the guard held back as before, and at least 100% of the guard images, trained on mostly, of each of 5 other "
        "classes"
    )
    trace, _ = edit(dataclasses.replace(SMALL, learning_rate=3.0, steps=1, guard_agreement=1.0))
    assert not trace.reached
    assert trace.steps[-1]["guard_agreement"] < 1  # type: ignore[operator]


@pytest.mark.parametrize(("steps", "rounds"), [(1, 1), (ROUND, 1), (ROUND + 1, 2)])
def test_a_round_is_fifty_steps_and_the_last_one_what_is_left(steps: int, rounds: int) -> None:
    trace, _ = edit(dataclasses.replace(SMALL, steps=steps, attempts=1))
    assert [step["round"] for step in trace.steps] == list(range(rounds))
    assert all(
        set(step) == {"tower", "blocks", "strength", "firm", "round", "loss", "kept", *JUDGED} for step in trace.steps
    )


def test_the_learning_rate_falls_by_a_cosine_from_the_whole_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, closure: None = None) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    edit(dataclasses.replace(SMALL, steps=60, learning_rate=0.01))
    assert len(rates) == 60
    # Of 60 steps the first has all, the 21st three quarters, the 31st half; the round's end in between changes nothing.
    assert [rates[i] for i in (0, 20, 30, 40)] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert rates == sorted(rates, reverse=True)


def test_images_of_other_classes_are_no_condition() -> None:
    trace, model = edit(data=material(guard=False))
    assert shares(model)[0] < 0.15
    assert "guard_agreement" in trace.steps[-1]


@pytest.mark.parametrize("kind", ["open_clip ViT", "transformers CLIP"])
def test_towers_that_take_no_empty_batch_need_no_images_of_other_classes(kind: str) -> None:
    model, reference = copy.deepcopy(clip(kind)), clip(kind)
    tokens = torch.stack([model.tokenize([name]) for name in ("a red fish", "a dog", "a bee", "six")])
    pixels = reference.encoder.pixels
    images = torch.rand(4, 3, pixels.height, pixels.width, generator=torch.Generator().manual_seed(2))
    data = ForgetData((0,), tokens, forget=TensorImages(images, torch.zeros(4, dtype=torch.long)))
    method, rng = dataclasses.replace(SMALL, steps=1, attempts=1), torch.Generator().manual_seed(3)
    trace = method.edit_(model.encoder, reference.encoder, data, rng=rng, reporter=Silent())
    assert trace.steps[-1]["guard_classes"] == 0
    assert "guard images" not in trace.reason


def test_a_guard_in_which_nothing_can_be_judged_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    # All that is held back is images of the class: the reference takes them for it, and they are to change.
    classes = [TARGET]

    def of_the_class(n: int, height: int, width: int, *, rng: torch.Generator) -> Tensor:
        del height, width
        images = tiny_images(n, rng=rng, classes=classes).images
        return tiny_dual_encoder(steps=0).pixels.denormalize(images)

    monkeypatch.setattr("efface.methods.pool.dead_leaves", of_the_class)
    trace, _ = edit(data=material(guard=False))
    assert [step["guard_agreement"] for step in trace.steps] == [1.0, 1.0]
    assert trace.reached


class Stopped(Exception):
    """The run is stopped here."""


class Kept:
    """A checkpoint that stops the run as it notes for the given time, and keeps what belongs to it, as the pipeline."""

    def __init__(self, model: TinyDualEncoder, rng: torch.Generator, stop_at: int) -> None:
        self.model, self.rng, self.stop_at, self.times = model, rng, stop_at, count(1)
        self.noted: dict[str, Any] = {}

    def take(self) -> State | None:
        return None

    def offer(self, make: Callable[[], State]) -> None:
        if next(self.times) == self.stop_at:
            self.noted = {"part": make(), "weights": state(self.model), "rng": self.rng.get_state()}
            raise Stopped


class From:
    """A checkpoint that knows what a stopped run noted."""

    def __init__(self, known: State) -> None:
        self.known = known

    def take(self) -> State | None:
        return self.known

    def offer(self, make: Callable[[], State]) -> None:
        make()


@pytest.mark.parametrize("stop_at", [1, 2])
def test_it_goes_on_from_each_round_to_the_same_bits_and_the_same_words(stop_at: int) -> None:
    whole, expected = edited()
    assert len(whole.steps) == 2
    model, rng = tiny_dual_encoder(), torch.Generator().manual_seed(3)
    kept = Kept(model, rng, stop_at)
    with pytest.raises(Stopped):
        edit(model=model, rng=rng, checkpoint=kept)
    again, rng = tiny_dual_encoder(), torch.Generator().manual_seed(77)
    again.module.load_state_dict(kept.noted["weights"])
    rng.set_state(kept.noted["rng"])
    trace, _ = edit(model=again, rng=rng, checkpoint=From(kept.noted["part"]))
    assert trace == whole
    assert all(torch.equal(tensor, state(again)[name]) for name, tensor in state(expected).items())


LADDER = dataclasses.replace(SMALL, steps=ROUND, attempts=3, blocks=1)


def agreeing(monkeypatch: pytest.MonkeyPatch, *agreements: float, accuracy: float = 0.0) -> None:
    """The guard agrees so much after one edit, and the next."""
    answers = iter(agreements)
    monkeypatch.setattr(pool.Pool, "judge", lambda *_: pool.Judged(accuracy, next(answers), 1.0, 3))


def test_an_edit_that_lost_the_guard_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where no batch is drawn by chance an edit depends on its settings alone, whatever was tried before.
    monkeypatch.setattr("efface.methods.course.Course.draw", lambda _, first, end, __: torch.arange(first, end))
    agreeing(monkeypatch, 0.5, 0.6, 1.0)
    trace, model = edit(LADDER)
    firm = 3.3 * FIRMER
    assert [(step["blocks"], step["strength"], step["firm"]) for step in trace.steps] == [
        (1, 3.3, False),
        (1, firm, True),
        (1, firm * WEAKER, True),
    ]
    assert [step["guard_agreement"] for step in trace.steps] == [0.5, 0.6, 1.0]
    assert trace.reached
    alone = state(firm_alone(monkeypatch, strength=firm * WEAKER))
    assert all(torch.equal(tensor, alone[name]) for name, tensor in state(model).items())


def firm_alone(monkeypatch: pytest.MonkeyPatch, strength: float) -> TinyDualEncoder:
    """The same edit as after others that lost their guard, but as the first."""
    agreeing(monkeypatch, 1.0)
    with monkeypatch.context() as patched:
        patched.setattr("efface.methods.reassign.EVEN", FIRM)
        return edit(dataclasses.replace(LADDER, strength=strength))[1]


def test_a_class_of_the_guard_that_fell_asks_for_a_firm_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([pool.Judged(0.0, 1.0, 0.4, 3), pool.Judged(0.0, 1.0, 0.6, 3)])
    monkeypatch.setattr(pool.Pool, "judge", lambda *_: next(answers))
    trace, _ = edit(LADDER)
    assert [step["firm"] for step in trace.steps] == [False, True]
    assert trace.reached
    assert "at least 60% of the guard images, trained on mostly, of each of 3 other classes" in trace.reason
    monkeypatch.setattr(pool.Pool, "judge", lambda *_: pool.Judged(0.0, 1.0, 0.4, 3))
    assert not edit(LADDER)[0].reached


def test_if_all_lose_the_guard_the_one_that_loses_least_of_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.methods.course.Course.draw", lambda _, first, end, __: torch.arange(first, end))
    agreeing(monkeypatch, 0.5, 0.8, 0.6)
    trace, model = edit(LADDER)
    assert not trace.reached
    assert "80.0% of the surer half of the guard" in trace.reason
    alone = state(firm_alone(monkeypatch, strength=3.3 * FIRMER))
    assert all(torch.equal(tensor, alone[name]) for name, tensor in state(model).items())


NAMED = dataclasses.replace(LADDER, text_steps=25)


def test_texts_that_cost_the_guard_or_find_the_class_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "FEWEST", 5)

    def texts(model: TinyDualEncoder) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state(model).items() if name.startswith("text.")}

    untouched = texts(tiny_dual_encoder())
    untaken = (
        "; the texts stay as they were: without the name {} of the class would be left, and {} of the surer half of "
        "the guard held back as before, and at least {} of the guard images, trained on mostly, of each of 3 other "
        "classes"
    )
    agreeing(monkeypatch, 1.0, 1.0)
    trace, model = edit(NAMED)
    assert trace.reason.endswith("; by the image tower alone it would be 0.0%")
    assert any(not torch.equal(tensor, untouched[name]) for name, tensor in texts(model).items())
    image = {name: tensor for name, tensor in state(model).items() if name.startswith("image.")}
    agreeing(monkeypatch, 1.0, 0.9)
    trace, model = edit(NAMED)
    assert trace.reason.endswith(untaken.format("0.0%", "90.0%", "100%"))
    assert [step["kept"] for step in trace.steps] == [True, False, False]
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in texts(model).items())
    # The guard is as it was, and more of the class is found by the new texts than the goal allows.
    answers = iter([pool.Judged(0.0, 1.0, 1.0, 3), pool.Judged(0.5, 1.0, 1.0, 3)])
    monkeypatch.setattr(pool.Pool, "judge", lambda *_: next(answers))
    trace, model = edit(NAMED)
    assert trace.reason.endswith(untaken.format("50.0%", "100.0%", "100%"))
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in texts(model).items())
    # Or one class of the guard is lost by them.
    answers = iter([pool.Judged(0.0, 1.0, 1.0, 3), pool.Judged(0.0, 1.0, 0.2, 3)])
    trace, model = edit(NAMED)
    assert trace.reason.endswith(untaken.format("0.0%", "100.0%", "20%"))
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in texts(model).items())
    # The image tower is the same, with texts or without.
    assert all(torch.equal(state(model)[name], tensor) for name, tensor in image.items())
    agreeing(monkeypatch, 1.0)
    _, model = edit(LADDER)
    assert all(torch.equal(state(model)[name], tensor) for name, tensor in image.items())


def test_texts_that_cost_no_more_than_the_edit_did_are_kept_where_every_edit_lost_the_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(words, "FEWEST", 5)
    untouched = state(tiny_dual_encoder())
    agreeing(monkeypatch, 0.5, 0.8, 0.6, 0.8)
    trace, model = edit(NAMED)
    assert not trace.reached
    assert trace.steps[-1]["kept"]
    assert any(not torch.equal(t, untouched[name]) for name, t in state(model).items() if name.startswith("text."))


@pytest.mark.parametrize("stop_at", [2, *(pytest.param(at, marks=pytest.mark.slow) for at in (4, 6))])
def test_it_goes_on_in_each_attempt_to_the_same_bits(stop_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(NAMED, steps=ROUND + 5)
    monkeypatch.setattr(pool.Pool, "judge", lambda *_: pool.Judged(0.0, 0.5, 1.0, 3))
    whole, expected = edit(settings)
    model, rng = tiny_dual_encoder(), torch.Generator().manual_seed(3)
    kept = Kept(model, rng, stop_at)
    with pytest.raises(Stopped):
        edit(settings, model=model, rng=rng, checkpoint=kept)
    again, rng = tiny_dual_encoder(), torch.Generator().manual_seed(77)
    again.module.load_state_dict(kept.noted["weights"])
    rng.set_state(kept.noted["rng"])
    trace, _ = edit(settings, model=again, rng=rng, checkpoint=From(kept.noted["part"]))
    assert trace == whole
    assert all(torch.equal(tensor, state(again)[name]) for name, tensor in state(expected).items())


def test_what_it_needs_is_in_its_settings() -> None:
    assert isinstance(SMALL, ForgetMethod)
    assert SMALL.needs == Needs(forget_images=16, guard_images=24)
    without = ForgetData((TARGET,), tiny_class_tokens())
    with pytest.raises(ValueError, match="Reassign needs images of the class"):
        edit(data=without)


@pytest.mark.parametrize(
    "setting", [{"images": 0}, {"leaves": 7}, {"mixed": 1.5}, {"learning_rate": 0.0}, {"stop_accuracy": 1.0}]
)
def test_settings_that_cannot_be_are_refused(setting: dict[str, float]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        Reassign(**setting)  # type: ignore[arg-type]


def test_the_progress_told_of_is_all_that_was_announced() -> None:
    announced, told = [], []

    class Counting(Silent):
        @contextmanager
        def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
            done: list[int] = []
            yield done.append
            announced.append((name, total))
            told.append(sum(done))

    model = tiny_dual_encoder()
    SMALL.edit_(model, tiny_dual_encoder(), material(), rng=torch.Generator().manual_seed(3), reporter=Counting())
    # 16 images of the class and 25 others with 16 leaves; a copy of each but of the six held back.
    assert announced == [("encoding images and their copies", 57 + 16 + 35), ("handing over, steps", 60)]
    assert told == [108, 60]


def test_images_go_through_in_parts_each_copy_of_each_once_and_any_two_may_be_mixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[Tensor] = []
    tailed: list[int] = []
    features = CutTower.features

    def noted(pixels: Tensor, *, rng: torch.Generator, mix: float) -> Tensor:
        if mix:
            parts.append(pixels)
        return varied(pixels, rng=rng, mix=mix)

    def counted(self: CutTower, activations: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            tailed.append(len(activations))
        return features(self, activations)

    monkeypatch.setattr(pool, "varied", noted)
    monkeypatch.setattr(pool, "BATCH", 8)
    monkeypatch.setattr(CutTower, "features", counted)
    data = material()
    edit(dataclasses.replace(SMALL, copies=2, steps=1, attempts=1), data=data)
    # 25 images of other classes and 16 leaves, of which 6 are held back.
    assert [len(part) for part in parts] == [8, 8, 8, 8, 3] * 2
    first, second = torch.cat(parts[:5]).flatten(1).tolist(), torch.cat(parts[5:]).flatten(1).tolist()
    assert first != second
    assert sorted(first) == sorted(second)
    assert len(set(map(tuple, first))) == 35
    # Images of other classes come with leaves, which follow them where they are stored.
    assert data.guard is not None
    pixels = tiny_dual_encoder(steps=0).pixels
    of_classes = pixels.denormalize(torch.cat([images for images, _ in data.guard.batches(99)])).clamp(0, 1).flatten(1)
    share = [(torch.cdist(part.flatten(1), of_classes).min(dim=1).values < 1e-4).double().mean() for part in parts]
    assert any(0 < some < 1 for some in share[:4])
    # The features of every image and copy are computed once before the training, and after it those that judge.
    judging = sum(tailed) - (3 * (16 + 35) + 6)
    # The images of the class, those of others but for some of the six, and the six held back.
    assert 16 + (25 - 6) + 6 <= judging <= 16 + 25 + 6
