import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.functional.quantization import rounded_to_bits, without_smallest


def test_weights_are_rounded_to_the_nearest_of_the_steps_of_their_own_channel() -> None:
    # With 3 bits the largest of a channel is 3 steps: steps of 1 in the first, of 0.1 in the second.
    weight = torch.tensor([[3.0, 1.4, -0.6, 0.2], [0.3, -0.14, 0.06, 0.0]])
    expected = torch.tensor([[3.0, 1.0, -1.0, 0.0], [0.3, -0.1, 0.1, 0.0]])
    torch.testing.assert_close(rounded_to_bits(weight, 3), expected)
    assert torch.equal(rounded_to_bits(torch.zeros(2, 3), 4), torch.zeros(2, 3))


@given(st.integers(2, 16), st.integers(0, 1000))
def test_no_weight_moves_by_more_than_half_a_step_and_twice_rounded_is_once(bits: int, seed: int) -> None:
    weight = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(seed))
    rounded = rounded_to_bits(weight, bits)
    step = weight.flatten(1).abs().amax(dim=1) / (2 ** (bits - 1) - 1)
    assert ((rounded - weight).abs().flatten(1).amax(dim=1) <= step / 2 + 1e-6).all()
    torch.testing.assert_close(rounded_to_bits(rounded, bits), rounded)


def test_the_smallest_go_and_the_others_stay_as_they_are() -> None:
    weight = torch.tensor([[0.1, -3.0], [2.0, -0.2]])
    assert without_smallest(weight, 0.5).tolist() == [[0.0, -3.0], [2.0, 0.0]]
    assert torch.equal(without_smallest(weight, 0.0), weight)
    assert without_smallest(weight, 1.0).abs().sum() == 0
    # Of equal ones the earlier go, and two and a half entries are two.
    assert without_smallest(torch.ones(5), 0.5).tolist() == [0, 0, 1, 1, 1]


def test_what_is_no_number_of_bits_and_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="between 2 and 16, got 1"):
        rounded_to_bits(torch.ones(2, 2), 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        without_smallest(torch.ones(2), 1.5)
