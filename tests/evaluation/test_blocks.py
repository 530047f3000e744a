import pytest
import torch

from efface.evaluation.blocks import block_features
from efface.testing import tiny_dual_encoder, tiny_images
from tests.test_cut import WRITE, images
from tests.test_cut import clip as clip_of


@pytest.mark.parametrize("kind", WRITE)
def test_each_block_gives_a_vector_an_image_and_the_end_is_the_towers(kind: str) -> None:
    encoder = clip_of(kind).encoder
    pictures = images(encoder, 3)
    blocks, final = block_features(encoder, pictures)
    assert list(blocks) == [f"block {n}" for n in range(1, 1 + len(encoder.image_blocks()))]
    assert all(len(vectors) == 3 and vectors.isfinite().all() for vectors in blocks.values())
    with torch.no_grad():
        torch.testing.assert_close(final, encoder.encode_image(pictures))
    assert not any(module._forward_hooks for module in encoder.module.modules())


def test_a_block_that_puts_out_vectors_gives_them_as_they_are() -> None:
    encoder = tiny_dual_encoder()
    pictures = tiny_images(1, rng=torch.Generator().manual_seed(0)).images
    blocks, _ = block_features(encoder, pictures)
    stem = encoder.module.image["stem"](pictures.flatten(1))
    torch.testing.assert_close(blocks["block 1"], stem.detach())
