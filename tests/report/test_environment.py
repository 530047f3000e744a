import torch

from efface.report.environment import PACKAGES, environment, peak_memory_bytes


def test_every_version_that_figures_depend_on_is_named() -> None:
    found = environment()
    assert set(PACKAGES) <= set(found)
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["threads"] == str(torch.get_num_threads())


def test_peak_memory_is_at_least_what_was_just_held() -> None:
    held = torch.ones(64 * 2**20 // 4)
    assert peak_memory_bytes(held.device) > 64 * 2**20
