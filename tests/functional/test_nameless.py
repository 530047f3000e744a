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
def test_what_is_nearer_to_one_text_than_to_the_others_on_the_whole_is_nearer_to_it_than_to_this(
    seed: int, texts: int, shift: float
) -> None:
    # Texts that share much, as those of one prompt do, and an image at one of them.
    rng = torch.Generator().manual_seed(seed)
    others = F.normalize(torch.randn(texts, 1, 8, generator=rng) + shift, dim=-1)
    left, image = nameless(others)[0], others[0, 0]
    torch.testing.assert_close(left.norm(), torch.tensor(1.0))
    assert image @ left <= 1 + 1e-6
    assert (others[:, 0] @ left).mean() >= (others[:, 0] @ others[:, 0].T).mean() - 1e-6
