"""Settings that every test shares."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
settings.register_profile("efface", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("efface")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs the natural images where they are not."""
    if os.environ.get("EFFACE_NATURAL"):
        return
    for item in items:
        if "natural" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="EFFACE_NATURAL is not set"))


@pytest.fixture(scope="session")
def natural() -> Path:
    """The folder with natural images and the small CLIP."""
    return Path(os.environ["EFFACE_NATURAL"])
