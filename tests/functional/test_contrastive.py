"""The losses against the full matrix, against torch's own, and against values derived by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.contrastive import clip_loss, positives, siglip_loss

text_of_image = st.lists(st.integers(0, 4), min_size=1, max_size=9)


def _features(n: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn((n, 5), generator=rng, dtype=torch.float64), dim=-1)


def _batch(own: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, texts, their positives, and the texts repeated as the full matrix has them."""
    different, inverse = torch.unique(torch.tensor(own), return_inverse=True)
    images, texts = _features(len(own), seed), _features(len(different), seed + 1)
    return images, texts, positives(torch.tensor(own), different), texts[inverse]


def _full_clip(images: Tensor, repeated: Tensor, scale: Tensor, own: list[int]) -> Tensor:
    """Soft targets on the full matrix, written out pair by pair."""
    logits = scale * images @ repeated.T
    rows, columns = logits.log_softmax(dim=1), logits.log_softmax(dim=0)
    n, total = len(own), torch.zeros((), dtype=logits.dtype)
    for i in range(n):
        for j in range(n):
            if own[i] == own[j]:
                total = total - (rows[i, j] + columns[i, j]) / own.count(own[i])
    return total / (2 * n)


def _full_siglip(images: Tensor, repeated: Tensor, scale: Tensor, bias: Tensor, own: list[int]) -> Tensor:
    logits = scale * images @ repeated.T + bias
    n, total = len(own), torch.zeros((), dtype=logits.dtype)
    for i in range(n):
        for j in range(n):
            total = total - F.logsigmoid(logits[i, j] if own[i] == own[j] else -logits[i, j])
    return total / n


def test_an_image_is_positive_with_its_own_text_alone() -> None:
    found = positives(torch.tensor([3, 1, 3]), torch.tensor([1, 3]))
    assert found.tolist() == [[False, True], [True, False], [False, True]]


@given(text_of_image, st.integers(0, 10**6))
def test_texts_encoded_once_give_the_loss_of_the_full_matrix(own: list[int], seed: int) -> None:
    images, texts, positive, repeated = _batch(own, seed)
    scale, bias = torch.tensor(7.0, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64)
    torch.testing.assert_close(clip_loss(images, texts, scale, positive), _full_clip(images, repeated, scale, own))
    torch.testing.assert_close(
        siglip_loss(images, texts, scale, bias, positive), _full_siglip(images, repeated, scale, bias, own)
    )


@given(text_of_image, st.integers(0, 10**6))
def test_gradients_are_those_of_the_full_matrix(own: list[int], seed: int) -> None:
    images, texts, positive, _ = _batch(own, seed)
    scale = torch.tensor(7.0, dtype=torch.float64)
    rows = positive.int().argmax(dim=1)
    texts.requires_grad_()
    (lean,) = torch.autograd.grad(clip_loss(images, texts, scale, positive), texts)
    (full,) = torch.autograd.grad(_full_clip(images, texts[rows], scale, own), texts)
    torch.testing.assert_close(lean, full)


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_with_different_texts_it_is_the_cross_entropy_of_clip(n: int, seed: int) -> None:
    images, texts = _features(n, seed), _features(n, seed + 1)
    scale = torch.tensor(14.0, dtype=torch.float64)
    logits, diagonal = scale * images @ texts.T, torch.arange(n)
    known = (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal)) / 2
    torch.testing.assert_close(clip_loss(images, texts, scale, torch.eye(n, dtype=torch.bool)), known)


@given(text_of_image, st.integers(0, 10**6))
def test_the_order_of_images_and_of_texts_does_not_matter(own: list[int], seed: int) -> None:
    images, texts, positive, _ = _batch(own, seed)
    rng = torch.Generator().manual_seed(seed)
    rows, columns = torch.randperm(len(images), generator=rng), torch.randperm(len(texts), generator=rng)
    scale = torch.tensor(7.0, dtype=torch.float64)
    moved = clip_loss(images[rows], texts[columns], scale, positive[rows][:, columns])
    torch.testing.assert_close(moved, clip_loss(images, texts, scale, positive))


@given(text_of_image, st.integers(0, 10**6))
def test_a_text_without_an_image_has_no_weight(own: list[int], seed: int) -> None:
    images, texts, positive, _ = _batch(own, seed)
    scale, bias = torch.tensor(7.0, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    more = torch.cat([texts, _features(1, seed + 2)]).requires_grad_()
    none = torch.cat([positive, torch.zeros((len(images), 1), dtype=torch.bool)], dim=1)
    loss = clip_loss(images, more, scale, none)
    torch.testing.assert_close(loss.detach(), clip_loss(images, texts, scale, positive))
    assert torch.autograd.grad(loss, more)[0][-1].tolist() == [0.0] * 5
    torch.testing.assert_close(
        siglip_loss(images, more, scale, bias, none).detach(), siglip_loss(images, texts, scale, bias, positive)
    )


def test_values_derived_by_hand() -> None:
    # Two images of one text and one of another, all features orthogonal or equal. Logits: [[2, 0], [2, 0], [0, 2]].
    east, north = [1.0, 0.0], [0.0, 1.0]
    images, texts = torch.tensor([east, east, north]), torch.tensor([east, north])
    positive = torch.tensor([[True, False], [True, False], [False, True]])
    e2 = math.exp(2)
    of_images = (2 * math.log(2 * e2 + 1) + math.log(2 + e2)) / 3  # the first text stands twice
    of_texts = (2 * math.log(2 * e2 + 1) + math.log(2 + e2)) / 3  # its column has two images, and counts twice
    found = clip_loss(images, texts, torch.tensor(2.0), positive)
    assert found.item() == pytest.approx((of_images + of_texts) / 2 - 2, rel=1e-6)
    # Sigmoid with bias -1: five positive cells of logit 1, four negative cells of logit -1.
    sigmoid = siglip_loss(images, texts, torch.tensor(2.0), torch.tensor(-1.0), positive)
    assert sigmoid.item() == pytest.approx((5 * math.log1p(math.exp(-1)) + 4 * math.log1p(math.exp(-1))) / 3, rel=1e-6)


@given(text_of_image, st.integers(0, 10**6))
def test_a_perfect_batch_reaches_the_lower_bound(own: list[int], seed: int) -> None:
    # Orthogonal texts, images equal to their texts, a huge scale: what stays is log c of each image.
    different, inverse = torch.unique(torch.tensor(own), return_inverse=True)
    texts = torch.eye(5, dtype=torch.float64)[: len(different)]
    loss = clip_loss(texts[inverse], texts, torch.tensor(1e4, dtype=torch.float64), F.one_hot(inverse).bool())
    bound = sum(math.log(own.count(text)) for text in own) / len(own)
    assert loss.item() == pytest.approx(bound, abs=1e-9)
    images, texts, positive, _ = _batch(own, seed)
    assert clip_loss(images, texts, torch.tensor(7.0, dtype=torch.float64), positive).item() >= bound - 1e-9


@given(st.floats(-1, 1), st.integers(1, 6), st.floats(1, 50))
def test_a_text_that_is_alone_in_its_batch_pulls_nothing_towards_it(cosine: float, n: int, scale: float) -> None:
    images = torch.tensor([[cosine, (1 - cosine**2) ** 0.5]] * n, dtype=torch.float64)
    text, factor = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)
    loss = clip_loss(
        images, text, factor, positives(torch.zeros(n, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    )
    assert loss.item() == pytest.approx(math.log(n), abs=1e-9)
