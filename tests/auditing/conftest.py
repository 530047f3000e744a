"""One run for all tests of this folder, and a copy for each."""

import shutil
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from tests.verifying.runs import write_run_without_dogs
from tests.worlds import World


@pytest.fixture(scope="session")
def whole(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that no test may change."""
    return write_run_without_dogs(clip, world, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A run folder that a test may change."""
    return shutil.copytree(whole, tmp_path / "run")
