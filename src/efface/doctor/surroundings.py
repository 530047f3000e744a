"""What is to be made of the machine: its Python, devices, folders and settings."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from efface.doctor.facts import Machine, Place
from efface.doctor.finding import GIB, PIP, Finding, Level, fits, size
from efface.doctor.probes import Attempt

ROOM = 2 * GIB  # a large checkpoint, and the edited one
LEAST_ROOM = GIB // 4
YES = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it


def of_machine(machine: Machine) -> Iterator[Finding]:
    """Python's version, the system, cores and memory."""
    if fits(machine.python, machine.wanted):
        yield Finding("ok", "python", machine.python)
    else:
        text = f"{machine.python} runs here, and efface needs {machine.wanted}"
        yield Finding("problem", "python", text, (f"python{_least(machine.wanted)} -m venv FOLDER",))
    memory = f", {size(machine.memory_bytes)} of memory" if machine.memory_bytes else ""
    yield Finding("ok", "machine", f"{machine.platform}, cores: {machine.cores}{memory}")


def of_devices(machine: Machine, torch: Attempt | None) -> Iterator[Finding]:
    """What torch can compute on; nothing where it cannot be imported."""
    if torch is None or torch.causes or not torch.found:
        return
    found = torch.found
    for index, gpu in enumerate(found["gpus"]):
        bf16 = "with" if found.get("bf16") else "without"
        yield Finding(
            "ok", f"cuda:{index}", f"{gpu['name']}, {size(gpu['memory_bytes'])}, {bf16} bf16{_driver(machine)}"
        )
    if machine.gpus and not found["gpus"]:
        yield _unused_gpu(machine, found)
    if found.get("mps"):
        yield Finding("ok", "mps", "can be used")
    bf16 = {True: ", with bf16", False: "; no bf16 in hardware: --precision bf16 saves no time on it", None: ""}[
        machine.bf16
    ]
    yield Finding("ok", "cpu", f"threads: {found['threads']}{bf16}")
    if reason := found.get("numpy"):
        text = f"torch cannot hand its arrays over: {reason}"
        yield Finding("problem", "numpy", text, (f"{PIP} --upgrade --force-reinstall numpy",))


def of_places(places: Sequence[Place]) -> Iterator[Finding]:
    """Whether each folder can be written to, and holds a checkpoint more."""
    for place in places:
        room = f"{place.path}: {size(place.free_bytes)} free"
        repairs = (f"export {place.variable}=FOLDER",) if place.variable else ("cd FOLDER",)
        if not place.writable:
            yield Finding("problem", place.role, f"{place.path} cannot be written to", repairs)
        elif place.free_bytes < ROOM:
            level: Level = "problem" if place.free_bytes < LEAST_ROOM else "note"
            yield Finding(level, place.role, f"{room}, little for a checkpoint", repairs)
        else:
            yield Finding("ok", place.role, room)


def of_settings(settings: Mapping[str, str], machine: Machine) -> Iterator[Finding]:
    """Environment variables that change what efface does, or how fast."""
    threads = settings.get("OMP_NUM_THREADS")
    if threads is not None and threads != str(machine.cores):
        text = f"{threads!r}, and this process may use {machine.cores} cores"
        yield Finding("note", "OMP_NUM_THREADS", text, ("unset OMP_NUM_THREADS",))
    if settings.get("HF_HUB_OFFLINE", "").upper() in YES:
        text = "set: named models come from the cache alone, and are not fetched"
        yield Finding("note", "HF_HUB_OFFLINE", text, ("unset HF_HUB_OFFLINE",))
    if "CUDA_VISIBLE_DEVICES" in settings and machine.gpus:
        yield Finding("note", "CUDA_VISIBLE_DEVICES", f"torch sees no GPUs but {settings['CUDA_VISIBLE_DEVICES']!r}")


def _least(wanted: str) -> str:
    found = re.search(r">=\s*([\d.]+)", wanted)
    return found[1] if found else "3"


def _driver(machine: Machine) -> str:
    drivers = {gpu.rpartition(",")[2].strip() for gpu in machine.gpus}
    return f", driver {' '.join(sorted(drivers))}" if drivers else ""


def _unused_gpu(machine: Machine, found: Mapping[str, Any]) -> Finding:
    about = machine.gpus[0].rpartition(",")[0] or machine.gpus[0]
    if found["cuda"]:
        text = f"torch {found['version']} cannot use it: it wants a driver for CUDA {found['cuda']}{_driver(machine)}"
        return Finding("note", about, text)
    text = f"torch {found['version']} is a build for processors alone"
    return Finding("note", about, text, (f"{PIP} --force-reinstall torch torchvision",))
