"""Which classes a guard is made of, and that it is made once."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from efface import checkpoints, synthesis
from efface.backends.base import LoadedCLIP
from efface.checkpoints import Working
from efface.encoding import encode_classes
from efface.guarding import guard_rows, with_guard
from efface.stages import stream
from efface.synthesis import NEAREST, guard_synthesizer
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.batch import BatchAscent
from efface.types import ForgetData, Silent, TensorImages
from tests.worlds import NAMES

seeds = st.integers(0, 2**31)


def units(n: int, seed: int) -> Tensor:
    return F.normalize(torch.randn((n, 8), generator=torch.Generator().manual_seed(seed)), dim=1)


def rows(classes: Tensor, targets: tuple[int, ...], count: int, *, seed: int = 0) -> list[int]:
    found: list[int] = guard_rows(classes, targets, count, rng=torch.Generator().manual_seed(seed)).tolist()
    return found


@settings(max_examples=20)
@given(seeds, st.integers(2, 60), st.integers(1, 3), st.integers(0, 200))
def test_there_are_as_many_as_asked_for_and_none_is_a_target(seed: int, n: int, targets: int, count: int) -> None:
    gone = tuple(range(min(targets, n - 1)))
    found = rows(units(n, seed), gone, count)
    assert len(found) == count
    assert not set(found) & set(gone)
    assert set(found) <= set(range(n))
    assert found == rows(units(n, seed), gone, count)


@settings(max_examples=20)
@given(seeds, st.integers(3, 60), st.integers(1, 200), st.floats(0, 1))
def test_a_share_is_near_the_class_itself_where_other_kinds_of_it_stay(
    seed: int, n: int, count: int, own: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    found = guard_rows(units(n, seed), (0, 1), count, rng=rng, own=own).tolist()
    assert len(found) == count
    mine = [row for row in found if row in (0, 1)]
    assert len(mine) == int(own * count)
    assert abs(mine.count(0) - mine.count(1)) <= 1


def test_half_are_of_the_nearest_and_half_of_the_others_each_as_often() -> None:
    # Class i lies i degrees from class 0; the last target is at the far end.
    angles = torch.deg2rad(torch.arange(80.0))
    found = rows(torch.stack([angles.cos(), angles.sin()], dim=1), (0,), 160)
    near, rest = found[:80], found[80:]
    assert near[:NEAREST] == list(range(1, NEAREST + 1))
    assert set(near) == set(range(1, NEAREST + 1))
    assert sorted(set(rest)) == list(range(NEAREST + 1, 80))
    for half in (near, rest):
        times = [half.count(c) for c in set(half)]
        assert max(times) - min(times) <= 1
    # The others come in a random order: with few images it is not those that are listed first.
    few = rows(torch.stack([angles.cos(), angles.sin()], dim=1), (0,), 20)[10:]
    assert few != sorted(few)
    assert few != rows(torch.stack([angles.cos(), angles.sin()], dim=1), (0,), 20, seed=1)[10:]


def test_near_means_near_to_any_of_the_targets() -> None:
    angles = torch.deg2rad(torch.arange(80.0))
    found = rows(torch.stack([angles.cos(), angles.sin()], dim=1), (0, 79), 2 * NEAREST)
    assert sorted(found[:NEAREST]) == [*range(1, NEAREST // 2 + 1), *range(79 - NEAREST // 2, 79)]


@pytest.mark.parametrize("n", [2, 5, NEAREST + 1])
def test_of_few_classes_all_but_the_targets_take_turns(n: int) -> None:
    found = rows(units(n, 0), (1,), 4 * (n - 1))
    assert {c: found.count(c) for c in range(n)} == {c: 0 if c == 1 else 4 for c in range(n)}


# The images


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard of two steps."""
    monkeypatch.setattr(synthesis, "GUARD", BatchAscent(steps=2))


def asked(clip: LoadedCLIP) -> ForgetData:
    tokens = clip.class_tokens([[f"a photo of a {name}."] for name in NAMES])
    return ForgetData((NAMES.index("dog"),), tokens)


def made(clip: LoadedCLIP, folder: Path | None = None, *, seed: int = 0, count: int = 7) -> TensorImages:
    with Working(folder, {}, resume=True, overwrite=False).noting() as kept:
        data = with_guard(clip, asked(clip), count, seed=seed, stage=kept.stage("guard", {}), reporter=Silent())
    assert isinstance(data.guard, TensorImages)
    return data.guard


@pytest.mark.usefixtures("quick")
def test_a_guard_has_the_images_asked_for_with_their_classes(clip: LoadedCLIP) -> None:
    guard = made(clip)
    assert guard.images.shape == (7, 3, clip.encoder.pixels.height, clip.encoder.pixels.width)
    classes = encode_classes(clip.encoder, asked(clip).class_tokens)
    expected = guard_rows(classes, asked(clip).targets, 7, rng=stream(0, "guard classes"))
    assert torch.equal(guard.labels, expected)


@pytest.mark.usefixtures("quick")
def test_the_seed_decides_it(clip: LoadedCLIP) -> None:
    one, again, other = made(clip), made(clip), made(clip, seed=1)
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)


def test_as_many_climb_at_once_as_of_the_class_where_several_do() -> None:
    assert guard_synthesizer(BatchAscent(batch_size=3, rate=9.0)) == BatchAscent(batch_size=3)
    assert guard_synthesizer(GradientAscent(rate=9.0)) == BatchAscent()


@pytest.mark.usefixtures("quick")
def test_a_guard_that_was_begun_ends_on_the_same_bits_and_one_that_is_made_is_not_made_again(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    whole = made(clip)
    steps = []
    encode = type(clip.encoder).encode_image

    def stopping(self: object, images: Tensor) -> Tensor:
        steps.append(len(images))
        if len(steps) == 2:
            raise KeyboardInterrupt
        return encode(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(type(clip.encoder), "encode_image", stopping)
    with pytest.raises(KeyboardInterrupt):
        made(clip, tmp_path / "working")
    again = made(clip, tmp_path / "working")
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.labels, whole.labels)
    assert len(steps) == 3, "the first step is not done again"
    finished = made(clip, tmp_path / "working")
    assert torch.equal(finished.images, whole.images)
    assert len(steps) == 3
