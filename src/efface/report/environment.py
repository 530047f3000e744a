"""Where a run took place: versions, machine, and memory."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import torch

from efface.records.fields import TIME

PACKAGES = (
    "efface",
    "torch",
    "torchvision",
    "open_clip_torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "numpy",
    "pillow",
    "datasets",
    "safetensors",
)

OF_GPU = ("gpu", "cuda", "cudnn_benchmark", "cudnn_deterministic", "cudnn_tf32", "cublas_workspace")


def now() -> str:
    """The time, in UTC to the second, as a record writes it."""
    return datetime.now(UTC).strftime(TIME)


def environment() -> dict[str, str]:
    """Versions of all that the figures depend on, and the machine, as text."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["python"] = platform.python_version()
    found["platform"] = platform.platform()
    found["cpus"] = str(os.cpu_count())
    found["threads"] = str(torch.get_num_threads())
    return found | _arithmetic()


RESTARTED = ("platform", "cpus")
"""What a restart may change, and no result depends on."""


def decisive(device: torch.device) -> dict[str, str]:
    """Of the environment what may change bits of what is computed on a device.

    Not the kernel of the system nor the number of CPUs, which a restart may change; a GPU where it computes alone.
    """
    found = {name: value for name, value in environment().items() if name not in RESTARTED}
    if device.type != "cuda":
        found = {name: value for name, value in found.items() if name not in OF_GPU}
    return found | {"machine": platform.machine(), "libc": " ".join(platform.libc_ver())}


def _arithmetic() -> dict[str, str]:
    """What decides how the same program rounds: docs/running.md says of each what it does."""
    found = {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }
    if torch.cuda.is_available():
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
            "cudnn_deterministic": str(torch.backends.cudnn.deterministic),
            "cudnn_tf32": str(torch.backends.cudnn.allow_tf32),
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "not set"),
        }
    return found


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held at once: by the accelerator's tensors, or by this process on a CPU; 0 where not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # not there on Windows

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
