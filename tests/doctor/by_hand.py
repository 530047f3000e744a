"""Facts made by hand, of which a test changes what it is about."""

from typing import Any

from efface.doctor.facts import Machine, Package
from efface.doctor.probes import Attempt

NMS = "RuntimeError: operator torchvision::nms does not exist"
MACHINE = Machine("3.12.1", ">=3.11", "Linux", 4, memory_bytes=8 * 2**30)


def package(name: str, installed: str | None = "1.0", declared: str = "", **more: str) -> Package:
    return Package(name, declared, installed, **more)


def attempt(name: str, *causes: str, installed: str | None = "1.0", **found: Any) -> Attempt:
    return Attempt(name, name, installed, 1.0, causes, found)
