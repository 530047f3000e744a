import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional import augment
from efface.functional.augment import SHIFT, varied

seeds = st.integers(0, 2**31)
shares = st.floats(0, 1)


def pictures(n: int, *, seed: int = 0, side: int = 25) -> Tensor:
    return torch.rand((n, 3, side, side), generator=torch.Generator().manual_seed(seed))


def copied(pixels: Tensor, *, mix: float = 0.0, seed: int = 0) -> Tensor:
    return varied(pixels, rng=torch.Generator().manual_seed(seed), mix=mix)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing varies but what a test asks for."""
    for name in ("SHIFT", "GAIN", "OFFSET", "NOISE"):
        monkeypatch.setattr(augment, name, 0.0)
    return monkeypatch


@given(seeds, shares, st.integers(0, 4))
def test_copies_are_pixels_of_the_same_shape_in_their_range(seed: int, mix: float, n: int) -> None:
    pixels = pictures(n, seed=seed, side=5)
    before = pixels.clone()
    copies = copied(pixels, mix=mix, seed=seed)
    assert copies.shape == pixels.shape
    assert ((copies >= 0) & (copies <= 1)).all()
    assert torch.equal(pixels, before)


def test_the_same_seed_gives_the_same_copies_and_another_seed_others_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    one = copied(pictures(3), mix=0.5)
    torch.manual_seed(2)
    assert torch.equal(one, copied(pictures(3), mix=0.5))
    assert not torch.equal(one, copied(pictures(3), mix=0.5, seed=1))


@pytest.mark.usefixtures("still")
def test_where_nothing_varies_the_copy_is_the_image() -> None:
    torch.testing.assert_close(copied(pictures(4)), pictures(4))


def test_a_shift_moves_all_images_alike_and_no_farther_than_its_share(still: pytest.MonkeyPatch) -> None:
    still.setattr(augment, "SHIFT", SHIFT)
    pixels, moved = pictures(2), set()
    for seed in range(40):
        copies = copied(pixels, seed=seed)
        found = [
            (down, right)
            for down in range(-2, 3)  # 0.08 of 25 pixels
            for right in range(-2, 3)
            if torch.allclose(pixels.roll((down, right), dims=(-2, -1)), copies, atol=1e-6)
        ]
        assert len(found) == 1
        moved |= set(found)
    assert {down for down, _ in moved} == {right for _, right in moved} == set(range(-2, 3))


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_share_asked_for_lies_between_two_images_and_the_others_are_whole(mix: float) -> None:
    # Every image is of one gray, its number: a mixture is of a gray between two.
    n = 2000
    pixels = (torch.arange(n) / n).view(n, 1, 1, 1).expand(n, 3, 2, 2)
    copies = copied(pixels, mix=mix)
    assert (copies - copies[:, :1, :1, :1]).abs().max() < 1e-6
    is_mixed = (copies - pixels).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert is_mixed.double().mean().item() == pytest.approx(mix, abs=0.04)


@pytest.mark.usefixtures("still")
def test_a_mixture_takes_what_it_lacks_of_one_from_one_other() -> None:
    # Of image i the value at pixel i is 1: what a copy holds of each stands there.
    pixels = torch.eye(9).view(9, 1, 3, 3).expand(9, 3, 3, 3)
    parts = copied(pixels, mix=1.0)[:, 0].flatten(1)
    torch.testing.assert_close(parts.sum(dim=1), torch.ones(9))
    assert ((parts > 0).sum(dim=1) <= 2).all()
    assert ((parts > 0).sum(dim=1) == 2).any()


@pytest.mark.parametrize(("name", "share"), [("GAIN", 0.3), ("OFFSET", 0.15)])
def test_colors_change_by_channel_and_by_image(still: pytest.MonkeyPatch, name: str, share: float) -> None:
    still.setattr(augment, name, share)
    pixels = 0.25 + pictures(500) / 2
    change = (copied(pixels) - pixels).mean(dim=(2, 3)) if name == "OFFSET" else copied(pixels).std(dim=(2, 3))
    if name == "OFFSET":
        assert change.std().item() == pytest.approx(share, rel=0.15)
    else:
        gain = change / pixels.std(dim=(2, 3))
        assert gain.min() >= 0.7 - 1e-4
        assert gain.max() <= 1.3 + 1e-4
        assert gain.mean().item() == pytest.approx(1, abs=0.02)


def test_grain_is_of_no_more_than_its_size_and_not_the_same_in_each_image(still: pytest.MonkeyPatch) -> None:
    still.setattr(augment, "NOISE", 0.05)
    pixels = torch.full((200, 3, 16, 16), 0.5)
    grain = (copied(pixels) - pixels).flatten(1).std(dim=1)
    assert grain.max() < 0.055
    # The size is uniform from nothing to that.
    assert grain.mean().item() == pytest.approx(0.025, abs=0.004)
