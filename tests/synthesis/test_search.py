import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.synthesis.search import Search

THRESHOLDS = (0.8, 0.6, 0.6, 0.4)


def search_of(count: int = 3, iterations: int = 4) -> Search:
    return Search(count, THRESHOLDS, iterations, 4, torch.Generator().manual_seed(0))


def noise(rng: torch.Generator) -> torch.Tensor:
    return torch.randn((1, 3, 2, 2), generator=rng)


def climbed(search: Search, likely: list[float]) -> None:
    """One step of the undecided, to these probabilities."""
    images = torch.stack([torch.full((3, 2, 2), probability) for probability in likely])
    search.note(images, images, likely, [[probability > at for at in search.thresholds] for probability in likely])


def test_an_attempt_keeps_the_first_image_above_each_threshold_that_may_be_its_own() -> None:
    search = search_of(count=4, iterations=9)
    search.begin(4, noise)
    first, second, _, last = search.attempts
    for done, probability in enumerate((0.3, 0.5, 0.45, 0.7, 0.75), start=1):
        climbed(search, [0.1, probability, 0.1, probability])
        assert last.iterations == done
    assert first.passed == {}
    # Of one attempt before it, and of three.
    expected = {1: (0.7, 0.7, 4)}
    for one, more in ((second, {}), (last, {2: (0.7, 0.7, 4), 3: (0.5, 0.5, 2)})):
        found = {at: (image[0, 0, 0, 0].item(), likely, steps) for at, (image, likely, steps) in one.passed.items()}
        assert found == {at: pytest.approx(value) for at, value in (expected | more).items()}


def test_an_image_is_kept_once_and_without_its_batch() -> None:
    search = search_of(count=4)
    search.begin(4, noise)
    climbed(search, [0.9, 0.1, 0.1, 0.9])
    kept = {id(image) for image, _, _ in search.attempts[-1].passed.values()}
    assert len(kept) == 1
    for one in search.attempts:
        for image in (one.image, *(image for image, _, _ in one.passed.values())):
            assert image.untyped_storage().nbytes() == 4 * image.numel()


def test_an_attempt_waits_for_those_before_it_and_ends_as_if_it_had_come_after_them() -> None:
    search = search_of(count=2, iterations=2)
    search.begin(8, noise)
    assert len(search.attempts) == 2
    climbed(search, [0.5, 0.7])
    # The second may be of the first threshold, or, if the first fails, of the second: it goes on for now.
    assert search.decide() == 0
    assert len(search.undecided) == 2
    climbed(search, [0.7, 0.9])
    # The first is above 0.8 in no step: it failed. The second was above 0.6 in its first step.
    assert search.decide() == 1
    assert [(one["iterations"], one["threshold"], one["accepted"]) for one in search.steps] == [
        (2, 0.8, False),
        (1, 0.6, True),
    ]
    assert search.images[0].flatten().tolist() == pytest.approx([0.7] * 12)
    assert not search.is_over


def test_what_passed_the_highest_threshold_takes_no_further_steps() -> None:
    search = search_of()
    search.begin(2, noise)
    climbed(search, [0.1, 0.9])
    assert search.decide() == 0
    assert search.undecided == search.attempts[:1]
    # Its place is taken by the third that is wanted; a fourth is not.
    search.begin(2, noise)
    assert len(search.undecided) == 2
    search.begin(9, noise)
    assert len(search.attempts) == 3


def test_a_search_is_over_with_all_images_or_after_the_last_threshold() -> None:
    search = search_of(count=1, iterations=1)
    for failures in range(len(THRESHOLDS)):
        assert (search.is_over, search.failures) == (False, failures)
        search.begin(3, noise)
        climbed(search, [0.1])
        search.decide()
    assert search.is_over
    assert search.images == []
    won = search_of(count=1)
    won.begin(1, noise)
    climbed(won, [0.9])
    assert (won.decide(), won.is_over) == (1, True)


@given(st.integers(1, 5), st.integers(0, 6))
def test_a_search_goes_on_where_it_was(at_once: int, steps: int) -> None:
    def gone(search: Search, times: int) -> None:
        for _ in range(times):
            if not search.is_over:
                search.begin(at_once, noise)
                climbed(search, [float(torch.rand((), generator=one.rng)) for one in search.undecided])
                search.decide()

    whole, first = search_of(), search_of()
    gone(whole, steps + 4)
    gone(first, steps)
    other = search_of()
    other.rng.set_state(first.rng.get_state())
    other.restore(first.state(), torch.device("cpu"))
    gone(other, 4)
    assert other.steps == whole.steps
    assert all(torch.equal(a, b) for a, b in zip(other.images, whole.images, strict=True))
    assert [one.rng.get_state().tolist() for one in other.attempts] == [
        one.rng.get_state().tolist() for one in whole.attempts
    ]
