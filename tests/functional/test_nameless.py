"""What is left of a prompt without a name: between the others, of unit length."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from efface.functional.nameless import nameless


def test_it_lies_half_way_between_two() -> None:
    others = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    torch.testing.assert_close(nameless(others), torch.tensor([[0.5**0.5, 0.5**0.5]]))


def test_each_prompt_is_by_itself() -> None:
    first, second = torch.tensor([0.6, 0.8]), torch.tensor([-1.0, 0.0])
    torch.testing.assert_close(nameless(torch.stack([first, second])[None]), torch.stack([first, second]))


@given(seed=st.integers(0, 2**16), texts=st.integers(2, 9), shift=st.floats(0.5, 3))
def test_an_image_is_nearer_to_a_text_if_it_stands_out_there_by_more_than_the_texts_differ(
    seed: int, texts: int, shift: float
) -> None:
    # Texts that share much, as those of one prompt do, and images anywhere.
    rng = torch.Generator().manual_seed(seed)
    others = F.normalize(torch.randn(texts, 1, 8, generator=rng) + shift, dim=-1)
    images = F.normalize(torch.randn(20, 8, generator=rng) + shift, dim=-1)
    left = nameless(others)[0]
    torch.testing.assert_close(left.norm(), torch.tensor(1.0))
    cosines, length = images @ others[:, 0].T, others[:, 0].mean(dim=0).norm()
    stands_out = cosines[:, 0] - cosines.mean(dim=1) / length
    nearer = cosines[:, 0] - images @ left
    torch.testing.assert_close(stands_out, nearer, atol=1e-5, rtol=0)


def test_scaled_up_the_mean_may_be_nearer_than_the_nearest_text() -> None:
    others = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    image = torch.tensor([3**0.5 / 2, 0.5])
    assert image @ nameless(others)[0] > (others[:, 0] @ image).max()
