import pytest
import torch
from torch import Tensor

from efface.functional import leaves
from efface.functional.leaves import LARGEST, SMALLEST, dead_leaves


def made(count: int, height: int = 32, width: int = 32, *, seed: int = 0, most: int = 20) -> Tensor:
    return dead_leaves(count, height, width, rng=torch.Generator().manual_seed(seed), most=most)


def colors(image: Tensor) -> int:
    return len({tuple(color) for color in image.flatten(1).T.tolist()})


@pytest.mark.parametrize(("count", "height", "width"), [(0, 8, 8), (1, 4, 9), (5, 9, 4)])
def test_there_are_as_many_as_were_asked_for_with_pixels_in_their_range(count: int, height: int, width: int) -> None:
    images = made(count, height, width)
    assert images.shape == (count, 3, height, width)
    assert images.dtype == torch.float32
    assert ((images >= 0) & (images <= 1)).all()


def test_the_same_seed_gives_the_same_images_and_another_seed_others_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    one = made(4)
    torch.manual_seed(2)
    assert torch.equal(one, made(4))
    assert not torch.equal(one, made(4, seed=1))


def test_chunks_follow_each_other_on_the_same_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "CHUNK", 3)
    rng = torch.Generator().manual_seed(0)
    parts = [dead_leaves(n, 8, 8, rng=rng) for n in (3, 3, 1)]
    assert torch.equal(made(7, 8, 8), torch.cat(parts))


def test_an_image_has_one_color_for_each_leaf_at_most_and_one_for_the_ground() -> None:
    found = [colors(image) for image in made(64, most=6)]
    assert max(found) <= 7
    # The logarithm of their number is uniform: few are in most images, and some have nearly all.
    assert sum(n <= 4 for n in found) > 32
    assert max(found) >= 5
    assert max(colors(image) for image in made(16, most=1)) <= 2


def test_images_differ_and_are_flat_areas_with_edges_and_no_noise() -> None:
    images = made(64)
    assert len({colors(image) for image in images}) > 5
    # Most neighbors have the same color, as in no noise.
    assert (images[..., 1:] == images[..., :-1]).all(dim=1).double().mean() > 0.7
    assert images.flatten(1).std(dim=1).median() > 0.05


def leaf(kind: float, size: float, *, skew: float = 0.5, bevel: float = 0.5, side: int = 200) -> Tensor:
    """One leaf in the middle, its longer axis along the row, of the full width."""
    at = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    draws = [torch.tensor([value]) for value in (0.5, 0.5, 0.0, size, 1.0, kind, skew, bevel)]
    return leaves._leaf(x, y, *draws)[0]


@pytest.mark.parametrize(
    ("size", "radius"), [(0.0, LARGEST), (1.0, SMALLEST), (0.1, SMALLEST / (0.1 + SMALLEST / LARGEST))]
)
def test_a_round_leaf_has_the_area_of_its_circle_which_lies_between_the_two_bounds(size: float, radius: float) -> None:
    assert leaf(0.1, size).double().mean().item() == pytest.approx(torch.pi * radius**2, rel=0.05)
    assert SMALLEST <= radius <= LARGEST


def test_a_strip_is_ten_times_as_long_as_wide_and_a_polygon_lies_in_its_box() -> None:
    radius = SMALLEST / (0.2 + SMALLEST / LARGEST)
    strip = leaf(0.4, 0.2)
    rows, columns = (strip.any(dim=d).double().mean().item() for d in (1, 0))
    assert columns == pytest.approx(4 * radius, abs=0.011)
    assert rows == pytest.approx(0.4 * radius, abs=0.011)
    # Corners are cut at 1.4 of the radius: of the square two legs of 0.6 in each corner are gone.
    polygon = leaf(0.9, 0.2)
    assert polygon.double().mean().item() == pytest.approx((4 - 2 * 0.6**2) * radius**2, rel=0.05)
    assert (leaf(0.9, 0.2, bevel=1.0) & ~polygon).any()
