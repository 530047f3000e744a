"""What can be known of an environment without importing what it holds."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from efface.doctor.probes import Attempt
from efface.paths import path_of

READ = ("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True)
class Machine:
    """The interpreter and the machine; 0 and nothing where the system does not say.

    Attributes:
        python: the interpreter's version.
        wanted: the versions that efface declares.
        platform: system, kernel and architecture.
        cores: those that this process may use.
        memory_bytes: the machine's, or the container's where that is less.
        bf16: whether the processor has instructions for bfloat16; none: not known.
        gpus: name and driver of each GPU, as nvidia-smi knows them.
    """

    python: str
    wanted: str
    platform: str
    cores: int
    memory_bytes: int = 0
    bf16: bool | None = None
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """A package that efface, or one that it stands on, asks for.

    Attributes:
        name: as it is declared.
        declared: the versions that will do; empty: any.
        installed: the version that is there; none: it is not.
        extra: the extra of efface that asks for it; empty: it is always wanted.
        wants: what it asks for itself, where that is looked at: torch, of torchvision.
    """

    name: str
    declared: str
    installed: str | None
    extra: str = ""
    wants: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that efface or a library writes to; ``variable`` is what moves it elsewhere."""

    role: str
    path: str
    writable: bool
    free_bytes: int
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found; every part can be made by hand, so that findings can be tested."""

    machine: Machine
    packages: tuple[Package, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    places: tuple[Place, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    builtin_models: Mapping[str, int] = field(default_factory=dict)

    def package(self, name: str) -> Package | None:
        """A package by its name."""
        return next((package for package in self.packages if package.name == name), None)

    def attempt(self, name: str) -> Attempt | None:
        """An attempt by its name."""
        return next((attempt for attempt in self.attempts if attempt.name == name), None)


def machine() -> Machine:
    """The interpreter and the machine that this runs on."""
    try:
        wanted = str(distribution("efface").metadata.json.get("requires_python", ""))
    except PackageNotFoundError:
        wanted = ""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    flags = _text("/proc/cpuinfo")
    return Machine(
        python=platform.python_version(),
        wanted=wanted,
        platform=platform.platform(),
        cores=cores,
        memory_bytes=memory(_text("/proc/meminfo"), _text("/sys/fs/cgroup/memory.max")),
        bf16=("avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags) if flags else None,
        gpus=_gpus(),
    )


def memory(meminfo: str, limit: str) -> int:
    """Bytes of memory: what Linux says of the machine, or a container's limit where that is less; 0: not known."""
    total = next((int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:")), 0)
    return min(total, int(limit)) if limit.strip().isdigit() else total


def packages() -> tuple[Package, ...]:
    """What efface declares, and torchvision, which open_clip brings, with the torch that it was built for."""
    try:
        declared = [Requirement(line) for line in requires("efface") or ()]
    except PackageNotFoundError:
        declared = []
    known = [_package(wanted) for wanted in declared if _extra(wanted) is not None]
    if "torchvision" not in {package.name for package in known}:
        known.append(_package(Requirement("torchvision")))
    return tuple(sorted(known, key=lambda package: package.name.lower()))


def places() -> tuple[Place, ...]:
    """Where results, fetched weights, converted data and temporary files go."""
    home = Path(os.environ.get("HF_HOME", f"{os.environ.get('XDG_CACHE_HOME', '~/.cache')}/huggingface"))
    hub = os.environ.get("HF_HUB_CACHE", str(home / "hub"))
    data = os.environ.get("HF_DATASETS_CACHE", str(home / "datasets"))
    return (
        _place("the working folder", str(Path.cwd())),
        _place("the cache of fetched models", hub, "HF_HUB_CACHE"),
        _place("the cache of converted data", data, "HF_DATASETS_CACHE"),
        _place("the folder of temporary files", tempfile.gettempdir(), "TMPDIR"),
    )


def settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables, of those that matter here, that are set."""
    return {name: environment[name] for name in READ if name in environment}


def builtin_models(folder: Path = Path(__file__).parent.parent / "builtin_models") -> dict[str, int]:
    """The models that come with efface, and the bytes of each."""
    if not folder.is_dir():
        return {}
    inside = (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(("_", ".")))
    return {entry.name: sum(file.stat().st_size for file in _files(entry)) for entry in inside}


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _extra(wanted: Requirement) -> str | None:
    """The extra that asks for a package, empty for none; ``None`` where nothing asks for it on this system."""
    if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
        return ""
    extras = distribution("efface").metadata.get_all("Provides-Extra") or []
    return next((extra for extra in extras if wanted.marker.evaluate({"extra": extra})), None)


def _package(wanted: Requirement) -> Package:
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        installed = None
    asked = ""
    if installed and wanted.name == "torchvision":
        needed = (Requirement(line) for line in requires("torchvision") or ())
        asked = next((str(other.specifier) for other in needed if other.name == "torch"), "")
    return Package(wanted.name, str(wanted.specifier), installed, _extra(wanted) or "", asked)


def _place(role: str, folder: str, variable: str = "") -> Place:
    path = path_of(folder).absolute()
    # What is not there yet is made inside the first folder above it that is. Path's own exists() raises for a folder
    # that may not be looked into.
    standing = next(above for above in (path, *path.parents) if os.path.exists(above))
    is_open = standing.is_dir() and os.access(standing, os.W_OK | os.X_OK)
    return Place(role, str(path), is_open, shutil.disk_usage(standing).free, variable)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gpus() -> tuple[str, ...]:
    """What the driver says, whatever torch can use of it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    asked = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return () if done.returncode else tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
