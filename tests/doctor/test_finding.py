import pytest

from efface.doctor.finding import fits, size


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ("2.6", ">=2.6", True),
        ("2.5.1", ">=2.6", False),
        ("2.10.0", ">=2.6", True),  # as numbers, not as text
        ("2.9.0+cpu", "==2.9.0", True),  # a build of a version is that version
        ("2.9.0+cpu", "===2.9.0", False),
        ("2.9.1", "==2.9.0", False),
        ("2.10.0.dev20260101", ">=2.6", True),
        ("1.0", "", True),
        ("built here", ">=2.6", True),
    ],
)
def test_a_version_fits_a_range(version: str, wanted: str, expected: bool) -> None:
    assert fits(version, wanted) is expected


def test_sizes_are_read_by_people() -> None:
    assert size(3 * 2**30) == "3.0 GiB"
    assert size(2**20 + 2**19) == "1.5 MiB"
