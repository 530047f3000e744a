"""What is to stay, picked from images without labels."""

import torch

from efface.backends.base import LoadedCLIP
from efface.choosing import Lot
from efface.data.images import BadImages
from efface.data.own import open_pool
from efface.encoding import encode_classes
from efface.picking import picked, probabilities
from tests.worlds import NAMES, World


def chosen(probable: list[list[float]], count: int, near: tuple[int, ...] = (1,)) -> dict[int, int]:
    rng = torch.Generator().manual_seed(0)
    rows, labels = picked(torch.tensor(probable), (0,), near, count, rng=rng)
    return dict(zip(rows.tolist(), labels.tolist(), strict=True))


def test_only_what_is_surely_of_another_class_is_picked() -> None:
    target, near, other, unsure = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]
    assert chosen([target, near, other, unsure], 9) == {1: 1, 2: 2}
    assert chosen([target, unsure], 9) == {}


def test_half_are_siblings_where_there_are_as_many() -> None:
    near, other = [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    assert sorted(chosen([near] * 6 + [other] * 6, 8).values()) == [1] * 4 + [2] * 4
    assert sorted(chosen([near] * 2 + [other] * 9, 8).values()) == [1] * 2 + [2] * 6


def test_images_are_looked_at_in_their_order_without_those_that_are_broken(clip: LoadedCLIP, world: World) -> None:
    pool = open_pool(world.data, preprocess=clip.preprocess, skipped=BadImages())
    classes = encode_classes(clip.encoder, clip.class_tokens([[f"a photo of a {name}."] for name in NAMES]))
    rows = torch.tensor([7, 2, 5])

    def found(some: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        lot = Lot("pool", pool, some, torch.zeros_like(some), "")
        probable, kept = probabilities(clip.encoder, classes, lot)
        return probable, kept.tolist()

    probable, kept = found(rows)
    assert kept == [7, 2, 5]
    torch.testing.assert_close(probable.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(found(rows.flip(0))[0].flip(0), probable)
    pool.skipped.reasons[2] = "broken"
    assert found(rows)[1] == [7, 5]
