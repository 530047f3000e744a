import pytest
import torch

from efface.report.environment import PACKAGES, environment, peak_memory_bytes


def test_every_version_that_figures_depend_on_is_named() -> None:
    found = environment()
    assert set(PACKAGES) <= set(found)
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["threads"] == str(torch.get_num_threads())


def test_an_accelerator_is_named_with_the_version_of_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert {"gpu": "H100", "cuda": "13.0"}.items() <= environment().items()


def test_peak_memory_is_at_least_what_was_just_held() -> None:
    held = torch.ones(64 * 2**20 // 4)
    assert peak_memory_bytes(held.device) > 64 * 2**20
