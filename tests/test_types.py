import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.testing import TinyDualEncoder, tiny_dual_encoder, tiny_images
from efface.types import (
    DualEncoder,
    LabelledImages,
    PixelSpace,
    Reporter,
    Silent,
    TensorImages,
)

SPACE = PixelSpace((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), 4, 4)


def images(n: int) -> TensorImages:
    return TensorImages(torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 3, 2, 2), torch.arange(n))


@given(st.integers(0, 2**31))
def test_normalising_and_back_gives_the_pixels(seed: int) -> None:
    pixels = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(SPACE.denormalize(SPACE.normalize(pixels)), pixels)


def test_normalising_works_channel_by_channel() -> None:
    pixels = torch.tensor(SPACE.mean).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    torch.testing.assert_close(SPACE.normalize(pixels), torch.zeros(1, 3, 4, 4))


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 2**31))
def test_batches_hand_out_every_image_once_with_its_label(n: int, size: int, seed: int) -> None:
    for rng in (None, torch.Generator().manual_seed(seed)):
        batches = list(images(n).batches(size, rng=rng))
        assert all(len(labels) <= size for _, labels in batches)
        labels = torch.cat([labels for _, labels in batches])
        assert sorted(labels.tolist()) == list(range(n))
        assert all((x[:, 0, 0, 0] == y).all() for x, y in batches)


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 25), st.integers(0, 2**31))
def test_without_the_first_the_rest_comes_in_the_same_order(n: int, size: int, first: int, seed: int) -> None:
    for shuffled in (False, True):

        def order(size: int, first: int, shuffled: bool = shuffled) -> list[int]:
            rng = torch.Generator().manual_seed(seed) if shuffled else None
            return [label for _, labels in images(n).batches(size, rng=rng, first=first) for label in labels.tolist()]

        assert order(size, first) == order(1, 0)[first:]


def test_batches_keep_the_stored_order_without_a_generator_and_follow_its_seed_with_one() -> None:
    def order(rng: torch.Generator | None) -> list[int]:
        return [label for _, labels in images(50).batches(7, rng=rng) for label in labels.tolist()]

    assert order(None) == list(range(50))
    assert order(torch.Generator().manual_seed(1)) == order(torch.Generator().manual_seed(1))
    assert order(torch.Generator().manual_seed(1)) != order(torch.Generator().manual_seed(2))


def test_a_silent_reporter_takes_any_stage() -> None:
    reporter: Reporter = Silent()
    with reporter.stage("work", None) as advance:
        advance(3)


def test_concrete_classes_keep_their_protocols() -> None:
    encoder: DualEncoder = tiny_dual_encoder(steps=0)
    data: LabelledImages = tiny_images(1, rng=torch.Generator())
    assert isinstance(encoder, TinyDualEncoder)
    assert len(data) == len(data.labels)


def test_shapes_are_checked_while_tests_run() -> None:
    # The gate itself: without the run-time check a wrong shape would pass in silence.
    with pytest.raises(Exception, match="images"):
        TensorImages(torch.zeros(2, 4, 2, 2), torch.zeros(2, dtype=torch.int64))
