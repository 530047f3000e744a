"""The divergence of rows against a value derived by hand, and its bounds."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.distillation import row_divergence

SCALE = torch.tensor(math.log(3.0), dtype=torch.float64)


def units(seed: int, *shape: int) -> Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def test_the_divergence_by_hand() -> None:
    texts = torch.eye(2, dtype=torch.float64)
    # At this scale an image on a text has odds of 3 to 1 for it. Teacher (3/4, 1/4), student (1/4, 3/4); the other
    # image is where it was.
    taught, features = texts[[0, 0]], texts[[1, 0]]
    divergence = 0.75 * math.log(3) + 0.25 * math.log(1 / 3)
    assert row_divergence(features, taught, texts, SCALE).item() == pytest.approx(divergence / 2)


@given(st.integers(0, 2**30))
def test_it_is_at_least_zero_and_zero_for_the_teacher_itself(seed: int) -> None:
    texts, taught, features = units(seed, 4, 3), units(seed + 1, 5, 3), units(seed + 2, 5, 3)
    scale = torch.tensor(20.0, dtype=torch.float64)
    assert row_divergence(features, taught, texts, scale).item() >= 0
    assert row_divergence(taught, taught, texts, scale).item() == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 2**30))
def test_what_lies_across_all_texts_does_not_count(seed: int) -> None:
    texts = F.pad(units(seed, 4, 3), (0, 1))
    taught = F.pad(0.6 * units(seed + 1, 5, 3), (0, 1), value=0.8)
    mirrored = taught * torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    assert row_divergence(mirrored, taught, texts, SCALE).item() == pytest.approx(0, abs=1e-12)
