"""One run for all tests of this folder, and a copy for each that damages it."""

from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from tests.verifying.runs import copied, write_run_of, write_run_of_some
from tests.worlds import World


@pytest.fixture(scope="session")
def whole(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that no test may change."""
    return write_run_of(clip, world, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def some(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that no test may change; it used one domain of two, less an image that cannot be decoded."""
    return write_run_of_some(clip, world, tmp_path_factory.mktemp("some"))


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A run folder that a test may damage."""
    return copied(whole, tmp_path / "copy")
