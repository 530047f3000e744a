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
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
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
