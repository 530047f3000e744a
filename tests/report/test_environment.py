import os
import platform

import pytest
import torch

from efface.report.environment import OF_GPU, PACKAGES, decisive, environment, peak_memory_bytes


def test_every_version_that_figures_depend_on_is_named() -> None:
    found = environment()
    assert set(PACKAGES) <= set(found)
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["threads"] == str(torch.get_num_threads())


def test_what_decides_how_arithmetic_rounds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment()["deterministic_algorithms"] == "False"
    assert environment()["matmul_precision"] == "highest"
    assert environment()["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    found = environment()
    assert (found["gpu"], found["cublas_workspace"]) == ("H100", ":4096:8")
    assert {"cuda", "cudnn_benchmark", "cudnn_deterministic", "cudnn_tf32"} <= set(found)


def test_peak_memory_is_at_least_what_was_just_held() -> None:
    held = torch.ones(64 * 2**20 // 4)
    assert peak_memory_bytes(held.device) > 64 * 2**20


def test_what_a_restart_changes_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    before = decisive(cpu)
    assert {"torch", "threads", "cpu_capability", "matmul_precision", "machine", "libc"} <= before.keys()
    monkeypatch.setattr(platform, "platform", lambda: "Linux-99")
    monkeypatch.setattr(os, "cpu_count", lambda: 999)
    assert environment()["platform"] == "Linux-99"
    assert decisive(cpu) == before
    gpu = {name: "x" for name in OF_GPU}
    monkeypatch.setattr("efface.report.environment._arithmetic", lambda: {"cpu_capability": "other", **gpu})
    assert decisive(cpu)["cpu_capability"] == "other"
    assert not gpu.keys() & decisive(cpu).keys()
    assert gpu.keys() <= decisive(torch.device("cuda")).keys()
