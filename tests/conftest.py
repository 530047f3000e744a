"""Settings that every test shares."""

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:  # the run-time checks must be in place before efface is imported
    from efface.backends.base import LoadedCLIP
    from tests.worlds import World

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
settings.register_profile("efface", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("efface")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs the natural images where they are not."""
    if os.environ.get("EFFACE_NATURAL"):
        return
    for item in items:
        if "natural" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="EFFACE_NATURAL is not set"))


@pytest.fixture(scope="session", autouse=True)
def one_vocabulary() -> Iterator[None]:
    """Has open_clip read its vocabulary once and not for each tokenizer: a quarter of the time of a small model."""
    module = sys.modules.get("open_clip.tokenizer")
    if module is None:
        yield
        return
    real, read = module.SimpleTokenizer.__init__, dict[str, dict[str, Any]]()

    @functools.wraps(real)
    def shared(self: object, *given: object, **more: object) -> None:
        asked = repr((given, more))
        if asked not in read:
            real(self, *given, **more)
            read[asked] = dict(vars(self))
        vars(self).update(read[asked])

    with mock.patch.object(module.SimpleTokenizer, "__init__", shared):
        yield


@pytest.fixture(scope="session")
def natural() -> Path:
    """The folder with natural images and the small CLIP."""
    return Path(os.environ["EFFACE_NATURAL"])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> "World":
    """A small CLIP, pictures and names, as a person has them."""
    from tests.worlds import write_world

    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def clip(world: "World") -> "LoadedCLIP":
    """The small CLIP, loaded; no test may change it."""
    import efface

    return efface.load(world.model)
