"""The course of a training: its rate, its rounds, and what it draws."""

import pytest
import torch
from torch import nn

from efface.methods.base import Batch
from efface.methods.course import Course, whole
from efface.testing import tiny_images
from efface.types import Checkpoint, Scalar, Silent, Step, Unkept


def course(*, steps: int = 7, every: int = 3, falls: bool = True, done: int = 0) -> Course:
    return Course("steps", steps, every, 0.1, falls, torch.Generator().manual_seed(0), done)


def run(of: Course, *, stop_after: int = 99, checkpoint: Checkpoint | None = None) -> tuple[list[Step], nn.Parameter]:
    """A descent of one weight towards 1, which is told what round it is in."""
    weight, rounds = nn.Parameter(torch.zeros(1)), []

    def loss(batch: Batch) -> dict[str, Scalar]:
        return {"square": (weight - batch[0].mean()).square().sum()}

    def judge() -> tuple[bool, Step]:
        rounds.append(weight.item())
        return len(rounds) == stop_after, {"weight": weight.item()}

    batch = torch.ones(2, 1), torch.zeros(2, dtype=torch.int64)
    return of.fit_([weight], lambda: batch, loss, judge, Silent(), checkpoint or Unkept()), weight


def test_a_rate_that_falls_is_whole_at_first_half_in_the_middle_and_nothing_at_the_end() -> None:
    rates = [course(steps=4, done=done).rate for done in range(5)]
    assert rates == pytest.approx([0.1, 0.1 * (1 + 0.5**0.5) / 2, 0.05, 0.1 * (1 - 0.5**0.5) / 2, 0.0])
    assert [course(steps=4, falls=False, done=done).rate for done in range(5)] == [0.1] * 5


def test_rounds_share_out_the_steps_and_the_last_one_has_what_is_left() -> None:
    of = course()
    history, weight = run(of)
    assert of.done == 7
    assert [step["round"] for step in history] == [0, 1, 2]
    # AdamW's steps on such a slope are nearly its rate: their sum is half of 7 times 0.1 and half a step more.
    assert weight.item() == pytest.approx(sum(course(done=done).rate for done in range(7)), rel=0.1)


def test_it_ends_where_a_round_is_judged_the_last() -> None:
    of = course()
    history, _ = run(of, stop_after=1)
    assert (len(history), of.done) == (1, 3)


def test_rows_are_drawn_within_bounds_and_by_the_seed_alone() -> None:
    one, two = course(), course()
    torch.manual_seed(5)
    drawn = one.draw(3, 6, 100)
    assert set(drawn.tolist()) == {3, 4, 5}
    assert torch.equal(drawn, two.draw(3, 6, 100))
    assert not torch.equal(drawn, two.draw(3, 6, 100))


def test_sets_of_images_are_joined_in_their_order() -> None:
    a = tiny_images(1, rng=torch.Generator().manual_seed(0), classes=[1, 2])
    b = tiny_images(2, rng=torch.Generator().manual_seed(1), classes=[3])
    images, labels = whole([a, b], torch.device("cpu"))
    assert torch.equal(images, torch.cat([a.images, b.images]))
    assert labels.tolist() == [1, 2, 3, 3]
