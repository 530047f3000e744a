import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.similarity import accuracy, class_features, pair_cosine, top_classes, zero_shot_logits

seeds = st.integers(0, 2**31)


def units(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1)


@given(seeds)
def test_class_features_are_unit_vectors_whatever_the_order_of_prompts(seed: int) -> None:
    prompts = units(4, 3, 8, seed=seed)
    classes = class_features(prompts)
    torch.testing.assert_close(classes.norm(dim=-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(classes, class_features(prompts.flip(1)))


def test_one_prompt_is_its_own_class_feature() -> None:
    prompts = units(4, 1, 8, seed=0)
    torch.testing.assert_close(class_features(prompts), prompts[:, 0])


def test_two_orthogonal_prompts_meet_half_way() -> None:
    # (1, 0) and (0, 1) have the mean (1/2, 1/2), of length sqrt(1/2).
    prompts = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(class_features(prompts), torch.tensor([[0.5**0.5, 0.5**0.5]]))


@given(seeds)
def test_logits_are_blind_to_a_shared_rotation(seed: int) -> None:
    images, classes = units(5, 6, seed=seed), units(4, 6, seed=seed + 1)
    turn = torch.linalg.qr(units(6, 6, seed=seed + 2)).Q
    torch.testing.assert_close(
        zero_shot_logits(images @ turn, classes @ turn, 7.0), zero_shot_logits(images, classes, 7.0)
    )


def test_logits_are_scaled_cosines() -> None:
    images, classes = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    torch.testing.assert_close(zero_shot_logits(images, classes, 10.0), torch.tensor([[6.0, -10.0]]))


@given(seeds, st.integers(1, 9))
def test_the_nearest_classes_come_first_and_never_more_than_there_are(seed: int, k: int) -> None:
    images, classes = units(5, 6, seed=seed), units(4, 6, seed=seed + 1)
    top = top_classes(images, classes, k)
    assert top.shape == (5, min(k, 4))
    cosines = (images @ classes.T).gather(1, top)
    assert (cosines.diff(dim=1) <= 0).all()
    assert (top[:, 0] == (images @ classes.T).argmax(dim=1)).all()


def test_accuracy_is_the_share_that_is_right() -> None:
    assert accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 4])) == pytest.approx(0.75)


def test_the_cosine_of_pairs_by_hand() -> None:
    # Cosines of 1, 0 and -1 with texts of their own: a mean of 0; without the last of 1/2.
    images, texts = (
        torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, -0.8]]),
    )
    assert pair_cosine(images, texts).item() == pytest.approx(0, abs=1e-7)
    assert pair_cosine(images[:2], texts[:2]).item() == 0.5


@given(seeds)
def test_the_cosine_of_pairs_falls_along_its_negative_gradient_and_is_bounded(seed: int) -> None:
    embeddings, texts = units(4, 6, seed=seed).requires_grad_(), units(4, 6, seed=seed + 1)
    loss = pair_cosine(F.normalize(embeddings, dim=-1), texts)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    after = pair_cosine(F.normalize(embeddings - 1e-3 * gradient, dim=-1), texts)
    assert -1 <= after.item() <= loss.item() <= 1
