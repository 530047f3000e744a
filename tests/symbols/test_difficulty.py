"""That the world cannot be told from its pixels without learning what a sign is."""

import pytest
import torch
from torch import Tensor

from efface.data.symbols import drawn
from efface.symbols.catalogue import MEMBERS
from efface.symbols.splits import scenes

pytestmark = pytest.mark.slow
CHUNK = 10_000


@pytest.fixture(scope="module")
def pixels() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All training images and every third test image, each as one row around zero, with members."""
    train, test = scenes("train"), scenes("test").take(slice(None, None, 3))
    return (
        torch.from_numpy(drawn(train)).flatten(1).float().div_(255).sub_(0.5),
        torch.from_numpy(train.member),
        torch.from_numpy(drawn(test)).flatten(1).float().div_(255).sub_(0.5),
        torch.from_numpy(test.member),
    )


def test_the_nearest_neighbour_in_pixels_is_mostly_another_member(
    pixels: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    train, members, test, expected = pixels
    nearest, place = torch.full((len(test),), torch.inf), torch.zeros(len(test), dtype=torch.int64)
    for first in range(0, len(train), CHUNK):
        some = train[first : first + CHUNK]
        closest, row = (some.square().sum(1) - 2 * test @ some.T).min(1)
        is_nearer = closest < nearest
        nearest[is_nearer], place[is_nearer] = closest[is_nearer], row[is_nearer] + first
    right = (members[place] == expected).float().mean().item()
    assert right < 0.6
    # Better than one in 73, or the images would have nothing to do with their labels.
    assert right > 0.1


def test_a_linear_map_of_pixels_does_not_know_the_members(pixels: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    """Ridge regression on one-hot labels, by one eigendecomposition for all weights of the ridge."""
    train, members, test, expected = pixels
    wanted = torch.nn.functional.one_hot(members, len(MEMBERS)).float() - 1 / len(MEMBERS)
    strength, basis = torch.linalg.eigh(train.T @ train)
    seen, fitted = test @ basis, basis.T @ (train.T @ wanted)
    found = [
        (seen @ (fitted / (strength + ridge)[:, None])).argmax(1).eq(expected).float().mean().item()
        for ridge in (1e2, 1e3, 5e3, 2e4, 1e5)
    ]
    assert max(found) < 0.4
    assert max(found) > 0.05
