import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.membership import confidence, correctness, entropy, modified_entropy, signals

few = settings(max_examples=20)


def logits_of(*rows: tuple[float, ...]) -> Tensor:
    """Logits with these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


def test_two_answers_by_hand() -> None:
    logits, labels = logits_of((0.5, 0.25, 0.25), (0.5, 0.25, 0.25)), torch.tensor([0, 1])
    assert entropy(logits).tolist() == pytest.approx([1.5 * math.log(2)] * 2)
    # -(1 - 1/2) log 1/2 - 2 (1/4) log 3/4, and -(3/4) log 1/4 - 1/2 log 1/2 - 1/4 log 3/4.
    first = 0.5 * math.log(2) - 0.5 * math.log(0.75)
    second = 0.75 * math.log(4) + 0.5 * math.log(2) - 0.25 * math.log(0.75)
    assert modified_entropy(logits, labels).tolist() == pytest.approx([first, second])
    assert confidence(logits, labels).tolist() == pytest.approx([0.5, 0.25])
    assert correctness(logits, labels).tolist() == [1, 0]


def test_a_sure_wrong_answer_has_no_entropy_and_much_of_the_modified_one() -> None:
    logits, labels = torch.tensor([[50.0, 0, 0], [50.0, 0, 0]]), torch.tensor([0, 1])
    assert entropy(logits).max() < 1e-18
    right, wrong = modified_entropy(logits, labels).tolist()
    # log 1 / p_y is 50, and as much again is -log(1 - p_0), but for log 2: two classes share the rest.
    assert right == pytest.approx(0, abs=1e-18)
    assert wrong == pytest.approx(100 - math.log(2), abs=1e-6)


@few
@given(st.integers(0, 2**31), st.integers(2, 9), st.sampled_from([0.1, 10.0, 1000.0]))
def test_bounds_and_shifts(seed: int, classes: int, scale: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((6, classes), generator=rng, dtype=torch.float64)
    labels = torch.randint(classes, (6,), generator=rng)
    found = signals(logits, labels)
    assert found.isfinite().all()
    assert (found[:, 0] * (1 - found[:, 0]) == 0).all()
    assert ((found[:, 1] >= 0) & (found[:, 1] <= 1)).all()
    assert ((found[:, 2] >= 0) & (found[:, 2] <= math.log(classes) + 1e-9)).all()
    assert (found[:, 3] >= 0).all()
    torch.testing.assert_close(signals(logits + 3, labels), found, atol=1e-6, rtol=1e-6)


def test_where_all_is_equal_entropy_is_at_its_most() -> None:
    logits, labels = torch.zeros(1, 8), torch.tensor([3])
    assert entropy(logits).item() == pytest.approx(math.log(8))
    # -(7/8) log 1/8 - 7 (1/8) log 7/8.
    assert modified_entropy(logits, labels).item() == pytest.approx(7 / 8 * (math.log(8) - math.log(7 / 8)))
