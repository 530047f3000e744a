import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from efface.symbols.randomness import below, mix

ROWS = np.arange(20_000, dtype=np.int64)


def test_mix_gives_the_published_outputs_of_splitmix64() -> None:
    """The generator started at 0 hashes multiples of the golden gamma; its first outputs are in its reference code."""
    gamma = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.arange(1, 4, dtype=np.uint64) * gamma
    assert [int(v) for v in mix(states)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.integers(1, 1000))
def test_values_lie_below_the_limit(limit: int) -> None:
    values = below(limit, "test", "size", ROWS[:100])
    assert values.min() >= 0
    assert values.max() < limit


def test_values_are_spread_evenly() -> None:
    """Counts of 10 values over 20,000 draws: a mean of 2000, and five standard deviations of 42."""
    counts = np.bincount(below(10, "train", "x", ROWS), minlength=10)
    assert abs(counts - 2000).max() < 5 * 42.5


def test_streams_and_purposes_are_unrelated() -> None:
    one = below(1000, "train", "x", ROWS).astype(float)
    for other in (below(1000, "test", "x", ROWS), below(1000, "train", "y", ROWS)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(ROWS))


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    assert below(99, "test", "x", ROWS[37:40]).tolist() == below(99, "test", "x", ROWS)[37:40].tolist()
