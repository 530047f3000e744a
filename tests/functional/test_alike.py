import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.alike import SIGNS, blurred, close_pairs, hashes, thumbnails


def pictures(count: int, seed: int, side: int = 64) -> Tensor:
    """Random shapes without sharp edges, in color."""
    rng = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand((count, 3, 9, 9), generator=rng), size=(side, side), mode="bicubic").clamp(0, 1)


def differing(one: Tensor, other: Tensor) -> Tensor:
    return (hashes(one) != hashes(other)).sum(dim=1)


@given(st.integers(0, 2**31), st.floats(0.2, 1.0), st.floats(0.0, 0.3))
def test_neither_brightness_nor_contrast_changes_a_hash(seed: int, factor: float, addend: float) -> None:
    one = pictures(3, seed).double()
    # A sign at almost 0 may turn by rounding.
    assert (differing(one, one * factor + addend) <= 1).all()


@given(st.integers(0, 2**31))
def test_a_mirrored_picture_differs_in_the_signs_of_odd_waves_alone(seed: int) -> None:
    one = pictures(2, seed)
    signs, mirrored = (hashes(some).float() for some in (one, one.flip(-1)))
    odd = torch.tensor([i % 8 % 2 for i in range(1, 64)]).bool()
    agree = signs == mirrored
    assert (agree.sum(dim=1) - 31).abs().max() <= 2
    assert agree[:, ~odd].float().mean() > 0.9


def test_copies_keep_nearly_all_signs_and_other_pictures_half() -> None:
    one = pictures(40, 0)
    noisy = (one + 0.02 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    for copy in (blurred(one), noisy, F.interpolate(one, size=(96, 96), mode="bilinear")):
        assert differing(one, copy).max() <= 6
    apart = differing(one, pictures(40, 2)).float()
    # Binomial with 63 signs: 31.5, and 4 as standard deviation, for pictures that have nothing in common.
    assert apart.mean().item() == pytest.approx(31.5, abs=2.5)
    assert apart.min() > 15


def test_a_picture_of_one_color_has_no_hash_and_is_near_none() -> None:
    flat = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert not hashes(flat).any()
    assert len(close_pairs(hashes(flat), hashes(flat), 10)) == 0
    assert thumbnails(torch.full((1, 3, 8, 8), 0.4)).norm() < 1e-3


@given(st.integers(0, 2**31), st.integers(0, 7), st.integers(0, 7), st.integers(0, 25))
def test_close_pairs_are_those_of_a_comparison_one_by_one(seed: int, n: int, m: int, most: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(2, (size, SIGNS), generator=rng).mul(2).sub(1).to(torch.int8) for size in (n, m))
    second[: min(n, m)] = first[: min(n, m)]
    second[:, : most // 2] *= -1
    wanted = [[i, j] for i in range(n) for j in range(m) if int((first[i] != second[j]).sum()) <= most]
    assert close_pairs(first, second, most).tolist() == wanted


def test_parts_of_a_comparison_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = hashes(pictures(9, 3))
    whole = close_pairs(one, one, 20)
    monkeypatch.setattr("efface.functional.alike.CELLS", 18)
    assert torch.equal(close_pairs(one, one, 20), whole)


@given(st.integers(0, 2**31))
def test_thumbnails_tell_colors_that_gray_levels_do_not(seed: int) -> None:
    one = pictures(1, seed)
    small = thumbnails(one)
    assert (small * small).sum().item() == pytest.approx(1, abs=1e-5)
    assert (small * thumbnails(0.5 * one + 0.1)).sum().item() == pytest.approx(1, abs=1e-5)
    turned = thumbnails(one.flip(1))
    assert abs((small * turned).sum().item()) <= 1 + 1e-5
    red, blue = torch.zeros(2, 3, 4, 4)
    red[0, :2], blue[2, :2] = 1, 1
    # Two of the twelve parts of a picture hold all: 1/6 - 1/36 with itself, -1/36 with the other.
    assert (thumbnails(red[None]) * thumbnails(blue[None])).sum().item() == pytest.approx(-1 / 5, abs=1e-5)


def test_a_blurred_picture_keeps_its_mean_and_a_flat_one_all() -> None:
    one = pictures(4, 5)
    assert torch.allclose(blurred(one).mean(dim=(2, 3)), one.mean(dim=(2, 3)), atol=5e-3)
    assert (blurred(one) - one).abs().mean() > 1e-4
    flat = torch.full((1, 3, 5, 7), 0.3)
    assert torch.allclose(blurred(flat), flat)
    assert torch.equal(blurred(flat[..., :1, :1]), flat[..., :1, :1])
