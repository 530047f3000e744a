import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from efface.functional.ascent import accepted, blur, unit_step

seeds = st.integers(0, 2**31)
ONE = torch.tensor([1])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.floats(0.1, 50))
def test_a_step_has_its_length_for_each_image_whatever_the_gradient(seed: int, rate: float) -> None:
    images, gradient = normal(3, 3, 4, 4, seed=seed), normal(3, 3, 4, 4, seed=seed + 1)
    scaled = gradient * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1, 1)
    moved = unit_step(images, scaled, rate) - images
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((3,), rate, dtype=torch.float64))
    assert ((moved * scaled).sum() > 0).item()


@given(seeds, st.sampled_from([0.5, 1.0, 2.3]), st.integers(1, 9), st.integers(1, 9))
def test_the_blur_is_scipys(seed: int, sigma: float, height: int, width: int) -> None:
    images = normal(2, 3, height, width, seed=seed)
    by_scipy = gaussian_filter1d(gaussian_filter1d(images.numpy(), sigma, axis=-2), sigma, axis=-1)
    if min(height, width) >= int(4 * sigma + 0.5):  # scipy mirrors as often as it takes, ours once
        torch.testing.assert_close(blur(images, sigma), torch.from_numpy(by_scipy))
    torch.testing.assert_close(blur(torch.ones_like(images), sigma), torch.ones_like(images))


def test_an_image_is_accepted_when_the_class_is_first_and_probable_enough() -> None:
    # Scale 100 and a lead of 0.01: probability 1 / (1 + e^-1) = 0.7311.
    cosines = torch.tensor([[0.20, 0.21], [0.21, 0.20]])
    success, probability = accepted(cosines, ONE.expand(2), 100.0, 0.73)
    assert success.tolist() == [True, False]
    assert probability.tolist() == pytest.approx([0.7311, 0.2689], abs=1e-4)
    assert accepted(cosines, ONE.expand(2), 100.0, 0.74)[0].tolist() == [False, False]
    # First among three equals nearly, but not probable; the threshold could be 0.
    assert accepted(torch.tensor([[0.2, 0.2001, 0.2]]), ONE, 1.0, 0.5)[0].tolist() == [False]
