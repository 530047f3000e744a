import pytest
import torch
from torch import Tensor, nn

from efface.synthesis.climbing import LARGEST, Climbing


def climbing(latent: Tensor, *, ages: list[int] | None = None) -> Climbing:
    n = len(latent)
    nothing = torch.zeros_like(latent)
    return Climbing(
        latent,
        nothing,
        nothing.clone(),
        torch.arange(n),
        torch.tensor(ages or [0] * n),
        torch.zeros(n),
        nothing.clone(),
    )


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("betas", [(0.5, 0.9), (0.9, 0.999), (0.0, 0.0)])
def test_the_steps_of_an_image_are_those_of_torchs_adam(betas: tuple[float, float]) -> None:
    start = normal(1, 3, 4, 4, seed=0)
    parameter = nn.Parameter(start.clone())
    adam = torch.optim.Adam([parameter], betas=betas, eps=1e-30)
    now = climbing(start)
    for step in range(6):
        gradient, rate = normal(1, 3, 4, 4, seed=step + 1), 0.2 / (step + 1)
        now.note_best(torch.zeros(1), start)  # counts the step
        now.descend(gradient, torch.tensor([rate]), betas)
        parameter.grad, adam.param_groups[0]["lr"] = gradient, rate
        adam.step()
    torch.testing.assert_close(now.latent, parameter.detach(), atol=1e-5, rtol=1e-5)
    assert now.ages.tolist() == [6]


def test_each_image_of_a_batch_climbs_as_if_alone_at_its_own_rate_and_age() -> None:
    starts, gradients = normal(2, 3, 4, 4, seed=1), normal(5, 1, 3, 4, 4, seed=2)
    alone = climbing(starts[:1])
    for gradient in gradients:
        alone.ages += 1
        alone.descend(gradient, torch.tensor([0.1]), (0.5, 0.9))
    # Another one joins after two steps and climbs beside it, slower.
    now = climbing(starts[:1])
    for step, gradient in enumerate(gradients):
        if step == 2:
            now = now.join(climbing(starts[1:]))
        now.ages += 1
        rate = torch.tensor([0.1, 0.02])[: len(now.ages)]
        now.descend(gradient.expand(len(now.ages), -1, -1, -1), rate, (0.5, 0.9))
    torch.testing.assert_close(now.latent[:1], alone.latent)
    late = climbing(starts[1:])
    for gradient in gradients[2:]:
        late.ages += 1
        late.descend(gradient, torch.tensor([0.02]), (0.5, 0.9))
    torch.testing.assert_close(now.latent[1:], late.latent)
    assert now.ages.tolist() == [5, 3]


def test_where_there_is_no_gradient_there_is_no_step_and_none_leads_out_of_bounds() -> None:
    start = torch.full((1, 3, 2, 2), LARGEST - 0.01)
    now = climbing(start, ages=[1])
    now.descend(torch.zeros_like(start), torch.tensor([0.5]), (0.5, 0.9))
    assert torch.equal(now.latent, start)
    now.descend(-torch.ones_like(start), torch.tensor([0.5]), (0.5, 0.9))
    assert torch.equal(now.latent, torch.full_like(start, LARGEST))


def test_the_best_so_far_is_kept_with_its_image_and_of_equals_the_later() -> None:
    now = climbing(torch.zeros(2, 3, 1, 1))
    for value, probabilities in enumerate(([0.2, 0.0], [0.6, 0.3], [0.5, 0.3]), start=1):
        now.note_best(torch.tensor(probabilities), torch.full((2, 3, 1, 1), float(value)))
    assert now.best.tolist() == pytest.approx([0.6, 0.3])
    assert now.best_pixels[:, 0, 0, 0].tolist() == [2.0, 3.0]
    assert now.ages.tolist() == [3, 3]


def test_some_taken_and_others_joined_keep_all_that_is_known_of_them() -> None:
    now = climbing(normal(3, 3, 1, 1, seed=0), ages=[1, 2, 3])
    now.places, now.best = torch.tensor([7, 8, 9]), torch.tensor([0.1, 0.2, 0.3])
    now.mean, now.square, now.best_pixels = (normal(3, 3, 1, 1, seed=seed) for seed in (1, 2, 3))
    last, first = now.take(torch.tensor([2])), now.take(torch.tensor([0, 1]))
    again = first.join(last)
    assert all(torch.equal(one, other) for one, other in zip(now.values(), again.values(), strict=True))
    assert (last.places.tolist(), last.ages.tolist()) == ([9], [3])
    assert len(now.take(torch.tensor([], dtype=torch.int64)).places) == 0
