"""What a step sees is a function of the step, whichever step was the first and however many processes share it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.data.captions import CaptionedImages
from efface.errors import InputError
from efface.pretraining.batches import Batch, Schedule, Share, batches, derived_seed, moved, schedule, tokenized
from efface.types import Images, Tokens


@dataclass(frozen=True)
class Numbered:
    """The image in row ``i`` has the value ``i``; two levels of captions, one shared by three images each."""

    n: int
    source: str = "numbers"
    sha256: str = ""

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        return tuple(f"no {i}" for i in range(self.n)), tuple(f"about {i // 3}" for i in range(self.n))

    def __len__(self) -> int:
        return self.n

    def in_order(self, rows: Tensor, size: int) -> Iterator[Images]:
        for some in torch.split(rows, size):
            yield some.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def _letters(texts: Sequence[str]) -> Tokens:
    return torch.tensor([[ord(letter) for letter in text.ljust(10)[:10]] for text in texts])


def _all(n: int, size: int, steps: int, *, first: int = 0, share: Share | None = None) -> list[Batch]:
    images = Numbered(n)
    plan = replace(schedule(n, batch_size=size, steps=steps, epochs=0, seed=5), levels=(0, 1))
    texts = tokenized(images.levels, _letters)
    return list(batches(plan, images, texts, first=first, share=share or Share()))


def _rows(batch: Batch) -> list[int]:
    return batch.images[:, 0, 0, 0].long().tolist()


def _texts(tokens: Tensor) -> list[str]:
    return ["".join(map(chr, row)).strip() for row in tokens.tolist()]


def test_numbered_images_are_captioned_images() -> None:
    images: CaptionedImages = Numbered(3)
    assert isinstance(images, CaptionedImages)


@given(st.integers(4, 20), st.integers(1, 4), st.integers(1, 12), st.data())
def test_going_on_gives_what_was_left(n: int, size: int, steps: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, steps))
    whole, left = _all(n, size, steps), _all(n, size, steps, first=first)
    assert len(whole) == steps
    assert [_rows(batch) for batch in left] == [_rows(batch) for batch in whole[first:]]
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(left, whole[first:], strict=True))


@given(st.integers(4, 20), st.integers(1, 4))
def test_an_epoch_shows_every_image_at_most_once_and_the_next_in_another_order(n: int, size: int) -> None:
    plan = schedule(n, batch_size=size, steps=0, epochs=2, seed=5)
    assert plan.steps == 2 * (n // size)
    rows = plan.order(0).flatten().tolist()
    assert len(set(rows)) == len(rows) == n // size * size
    assert set(rows) <= set(range(n))
    assert n < 8 or plan.order(0).tolist() != plan.order(1).tolist()


@given(st.integers(4, 20), st.integers(1, 3), st.integers(1, 8), st.sampled_from([2, 3]))
def test_processes_share_a_batch(n: int, each: int, steps: int, processes: int) -> None:
    size = each * processes
    if size > n:
        return
    whole = _all(n, size, steps)
    parts = [_all(n, size, steps, share=Share(index, processes)) for index in range(processes)]
    for step, batch in enumerate(whole):
        shares = [part[step] for part in parts]
        assert [row for share in shares for row in _rows(share)] == _rows(batch)
        assert len({len(share.tokens) for share in shares}) == 1
        # What is there again to make the parts equally long comes after all the others.
        assert torch.equal(torch.cat([share.tokens for share in shares])[: len(batch.tokens)], batch.tokens)
        assert all(torch.equal(share.positive, batch.positive) for share in shares)


def test_every_image_is_positive_with_its_caption_of_one_level() -> None:
    seen = set()
    for batch in _all(9, 6, 12):
        texts = _texts(batch.tokens)
        assert len(set(texts)) == len(texts)
        level = 0 if texts[0].startswith("no") else 1
        seen.add(level)
        own = [texts[place] for place in batch.positive.int().argmax(dim=1).tolist()]
        assert own == [Numbered(9).levels[level][row] for row in _rows(batch)]
        assert batch.positive.sum(dim=1).tolist() == [1] * 6
    assert seen == {0, 1}


def test_levels_are_drawn_as_often_as_they_stand_there_and_first_ones_first() -> None:
    """Over 3000 steps two thirds and one third, within five standard deviations of 26 steps."""
    plan = Schedule(images=9, batch_size=3, steps=9999, seed=1, levels=(4, 4, 7), first_levels=(2, 3), first_steps=40)
    assert {plan.level(step) for step in range(40)} == {2, 3}
    later = [plan.level(step) for step in range(40, 3040)]
    assert set(later) == {4, 7}
    assert abs(later.count(4) - 2000) < 5 * 26


def test_an_image_is_moved_by_whole_pixels_and_its_border_repeated() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3).expand(2, 3, 3, 3)
    down, left = moved(image, torch.tensor([[1, 0], [0, -2]]))[:, 0]
    assert down.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert left.tolist() == [[2, 2, 2], [5, 5, 5], [8, 8, 8]]


def test_moves_differ_from_step_to_step_and_reach_their_ends() -> None:
    plan = Schedule(images=999, batch_size=500, steps=9, seed=1, shift=2)
    first, second = plan.moves(0), plan.moves(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, plan.moves(0))
    assert set(first.flatten().tolist()) == {-2, -1, 0, 1, 2}


def test_each_different_caption_is_tokenized_once() -> None:
    texts = tokenized([("a", "b", "a"), ("b", "c", "c")], _letters)
    assert _texts(texts.tokens) == ["a", "b", "c"]
    assert [level.tolist() for level in texts.levels] == [[0, 1, 0], [1, 2, 2]]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match="3 images do not fill a batch of 4"):
        schedule(3, batch_size=4, steps=1, epochs=0, seed=0)


def test_derived_seeds_differ_by_use_and_stay_in_range() -> None:
    found = {derived_seed(seed, what, step) for seed in (0, 1) for what in ("order", "level") for step in range(50)}
    assert len(found) == 200
    assert all(0 <= seed < 2**63 for seed in found)
