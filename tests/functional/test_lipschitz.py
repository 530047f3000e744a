import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.functional.lipschitz import joint_lipschitz_loss, lipschitz_loss

seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.integers(1, 4), st.integers(1, 5))
def test_the_loss_equals_a_five_line_reference(seed: int, draws: int, batch: int) -> None:
    image, text, noisy = normal(batch, 3, seed=seed), normal(3, seed=seed + 1), normal(draws, batch, 3, seed=seed + 2)
    distance = normal(draws, batch, seed=seed + 3).abs() + 0.1
    total = 0.0
    for k in range(draws):
        inner = [((text - noisy[k, i]).norm() + (image[i] - noisy[k, i]).norm()) for i in range(batch)]
        total += abs(sum(float(inner[i]) / (2 * float(distance[k, i])) for i in range(batch)))
    assert joint_lipschitz_loss(image, text, noisy, distance).item() == pytest.approx(total / (2 * draws))


def test_the_loss_by_hand() -> None:
    # One image at (3, 4), text at (0, 0), one noisy copy at (0, 4) with noise of length 2:
    # distances 4 (text) and 3 (image), over 2 * 2, halved: 7 / 8.
    image, text, noisy = torch.tensor([[3.0, 4.0]]), torch.tensor([0.0, 0.0]), torch.tensor([[[0.0, 4.0]]])
    assert joint_lipschitz_loss(image, text, noisy, torch.tensor([[2.0]])).item() == pytest.approx(7 / 8)


@given(seeds)
def test_the_loss_is_zero_where_everything_coincides_and_never_below(seed: int) -> None:
    text, distance = normal(3, seed=seed), torch.ones(2, 4, dtype=torch.float64)
    same = text.expand(4, 3)
    assert joint_lipschitz_loss(same, text, same.expand(2, 4, 3), distance).item() == 0
    assert joint_lipschitz_loss(normal(4, 3, seed=seed + 1), text, normal(2, 4, 3, seed=seed), distance).item() > 0


@given(seeds)
def test_the_loss_is_blind_to_rotation_and_order_and_sums_over_the_batch(seed: int) -> None:
    image, text, noisy = normal(4, 3, seed=seed), normal(3, seed=seed + 1), normal(2, 4, 3, seed=seed + 2)
    distance = normal(2, 4, seed=seed + 3).abs() + 0.1
    loss = joint_lipschitz_loss(image, text, noisy, distance).item()
    turn = torch.linalg.qr(normal(3, 3, seed=seed + 4)).Q
    assert joint_lipschitz_loss(image @ turn, text @ turn, noisy @ turn, distance).item() == pytest.approx(loss)
    order = [2, 0, 3, 1]
    shuffled = joint_lipschitz_loss(image[order], text, noisy[:, order], distance[:, order])
    assert shuffled.item() == pytest.approx(loss)
    halves = [joint_lipschitz_loss(image[r], text, noisy[:, r], distance[:, r]).item() for r in ([0, 1], [2, 3])]
    assert sum(halves) == pytest.approx(loss)


@given(seeds)
def test_with_a_text_an_image_each_is_pulled_to_its_own(seed: int) -> None:
    image, texts, noisy = normal(3, 4, seed=seed), normal(3, 4, seed=seed + 1), normal(2, 3, 4, seed=seed + 2)
    distance = normal(2, 3, seed=seed + 3).abs() + 0.1
    one_by_one = [
        joint_lipschitz_loss(image[i : i + 1], texts[i], noisy[:, i : i + 1], distance[:, i : i + 1]) for i in range(3)
    ]
    torch.testing.assert_close(joint_lipschitz_loss(image, texts, noisy, distance), torch.stack(one_by_one).sum())


@given(seeds)
def test_twice_the_noise_length_gives_half_the_loss(seed: int) -> None:
    image, text, noisy = normal(4, 3, seed=seed), normal(3, seed=seed + 1), normal(2, 4, 3, seed=seed + 2)
    distance = normal(2, 4, seed=seed + 3).abs() + 0.1
    loss, halved = (joint_lipschitz_loss(image, text, noisy, factor * distance).item() for factor in (1, 2))
    assert halved == pytest.approx(loss / 2)


def test_gradient_reaches_the_clean_image_and_the_text_but_not_the_noisy_copy() -> None:
    image, text, noisy = (normal(*s, seed=1).requires_grad_() for s in ((2, 3), (3,), (4, 2, 3)))
    joint_lipschitz_loss(image, text, noisy * 1.0, torch.ones(4, 2, dtype=torch.float64)).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert text.grad is not None
    assert noisy.grad is None


def test_each_term_alone_by_hand_and_both_together_are_their_sum() -> None:
    # As above: the distance 4 of the text over 2 * 2, halved, is 4 / 8; the distance 3 of the image gives 3 / 8.
    image, text, noisy = torch.tensor([[3.0, 4.0]]), torch.tensor([0.0, 0.0]), torch.tensor([[[0.0, 4.0]]])
    distance = torch.tensor([[2.0]])
    assert joint_lipschitz_loss(None, text, noisy, distance).item() == pytest.approx(4 / 8)
    assert joint_lipschitz_loss(image, None, noisy, distance).item() == pytest.approx(3 / 8)
    with pytest.raises(ValueError, match="needs embeddings"):
        joint_lipschitz_loss(None, None, noisy, distance)


@given(seeds)
def test_the_joint_loss_is_the_sum_of_its_terms_of_which_that_of_the_images_is_a_quarter_of_jits(seed: int) -> None:
    image, text, noisy = normal(4, 3, seed=seed), normal(3, seed=seed + 1), normal(2, 4, 3, seed=seed + 2)
    distance = normal(2, 4, seed=seed + 3).abs() + 0.1
    of_image, of_text = (joint_lipschitz_loss(i, t, noisy, distance) for i, t in ((image, None), (None, text)))
    assert (of_image + of_text).item() == pytest.approx(joint_lipschitz_loss(image, text, noisy, distance).item())
    assert lipschitz_loss(image, noisy, distance).item() == pytest.approx(4 * of_image.item())


def test_the_loss_of_jit_by_hand() -> None:
    # Two images, two copies each. First draw: 3 / 1 and 4 / 2 are 5; second: 0 and 5 / 2 are 2.5; their mean is 3.75.
    clean = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    noisy = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [3.0, 4.0]]])
    assert lipschitz_loss(clean, noisy, torch.tensor([[1.0, 2.0], [9.0, 2.0]])).item() == pytest.approx(3.75)


def test_no_gradient_of_jits_loss_reaches_the_noisy_copies() -> None:
    clean, noisy = (normal(*s, seed=1).requires_grad_() for s in ((2, 3), (4, 2, 3)))
    lipschitz_loss(clean, noisy * 1.0, torch.ones(4, 2, dtype=torch.float64)).backward()  # type: ignore[no-untyped-call]
    assert clean.grad is not None
    assert noisy.grad is None
