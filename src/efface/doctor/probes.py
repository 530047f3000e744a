"""Attempts to import what efface stands on, each in a process of its own that may fail, hang or crash."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

AT_ONCE = 2
TIMEOUT = 60.0  # seconds; the first import of torch from a slow disk takes half of it

MARK = "efface-doctor "

# Reports a line of JSON for each lines of code, up to the first that fail. It ends without clean-up: that of a
# half-imported library may crash on its own.
RUNNER = f"""
import json, os, sys, time, traceback
for code in sys.argv[1:]:
    begin, space, causes = time.perf_counter(), {{}}, []
    try:
        exec(code, space)
    except BaseException as error:
        while error is not None:
            causes.append(traceback.format_exception_only(error)[-1].strip())
            error = error.__cause__ or error.__context__
    seconds = time.perf_counter() - begin
    answer = {{"seconds": seconds, "causes": causes, "found": space.get("found", {{}})}}
    print("\\n{MARK}" + json.dumps(answer), flush=True)
    if causes:
        break
os._exit(0)
"""

TORCH = """
import torch
found = {"version": torch.__version__, "threads": torch.get_num_threads(), "cuda": torch.version.cuda, "gpus": []}
if torch.cuda.is_available():
    found["bf16"] = torch.cuda.is_bf16_supported()
    for index in range(torch.cuda.device_count()):
        known = torch.cuda.get_device_properties(index)
        found["gpus"].append({"name": known.name, "memory_bytes": known.total_memory})
found["mps"] = torch.backends.mps.is_available()
try:
    torch.zeros(1).numpy()
except RuntimeError as error:
    found["numpy"] = str(error)
"""

PILLOW = """
from PIL import Image, features
found = {"lacking": [name for name in ("jpg", "zlib", "webp") if not features.check(name)]}
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to try.

    Attributes:
        name: how it is called in the answer.
        package: the distribution that must be installed for it.
        code: lines of Python that raise if it does not work; a dict ``found`` in them is handed back.
    """

    name: str
    package: str
    code: str


# What others import comes before them: a failure is named after the first that had it. Those of a group share a
# process, as they do in efface, and torch is imported once.
PROBES = (
    (
        Probe("torch", "torch", TORCH),
        Probe("torchvision", "torchvision", "import torchvision"),
        Probe("open_clip", "open_clip_torch", "import open_clip"),
        Probe("transformers", "transformers", "from transformers import CLIPModel"),
    ),
    (
        Probe("datasets", "datasets", "import datasets"),
        Probe("matplotlib", "matplotlib", "from matplotlib.backends import backend_svg"),
        Probe("pillow", "pillow", PILLOW),
    ),
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a probe.

    Attributes:
        name: the probe's.
        package: the probe's.
        installed: the version of the package; none: it is not there.
        seconds: what it took, without the start of the interpreter, and without what the group had imported before.
        causes: what was raised, as the last line of its traceback, and the errors that led to it; none: it works.
        found: what the probe handed back.
    """

    name: str
    package: str
    installed: str | None
    seconds: float
    causes: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)


def attempt(
    group: Sequence[Probe], finished: Callable[[str], None] = lambda name: None, *, timeout: float = TIMEOUT
) -> list[Attempt]:
    """Runs probes in one process, in their order, up to the first that fails.

    Args:
        group: the probes.
        finished: told the name of each that came to its end.
        timeout: seconds for all of them together.

    Returns:
        What came of the probes that were run.
    """
    # -P: a file of the working folder that is called torch.py is not what `efface` would import.
    asked = [sys.executable, "-P", "-c", RUNNER, *(probe.code for probe in group)]
    begin = time.perf_counter()
    done: list[Attempt] = []
    with (
        tempfile.TemporaryFile("w+", errors="replace") as stderr,
        subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=stderr, text=True, errors="replace") as process,
    ):
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        for line in process.stdout or ():
            if line.startswith(MARK):
                answer = json.loads(line.removeprefix(MARK))
                done.append(_made(group[len(done)], answer["seconds"], tuple(answer["causes"]), answer["found"]))
                finished(done[-1].name)
        process.wait()
        alarm.cancel()
        if len(done) < len(group) and not (done and done[-1].causes):
            seconds = time.perf_counter() - begin
            stderr.seek(0)
            cause = f"it did not end within {timeout:g} seconds" if seconds >= timeout else ""
            done.append(_made(group[len(done)], seconds, (cause or _crash(process.returncode, stderr.read()),)))
            finished(done[-1].name)
    return done


def attempt_all(groups: Sequence[Sequence[Probe]], finished: Callable[[str], None]) -> tuple[Attempt, ...]:
    """Runs groups of probes, two at once; those that stand behind a failure in their group, each on its own.

    Returns:
        What came of them, in their order.
    """
    done: dict[str, Attempt] = {}
    pool = ThreadPoolExecutor(AT_ONCE)

    def run(groups: Sequence[Sequence[Probe]]) -> None:
        for made in pool.map(lambda group: attempt(group, finished), groups):
            done.update({one.name: one for one in made})

    try:
        run(groups)
        run([[probe] for group in groups for probe in group if probe.name not in done])
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C starts no further ones
    return tuple(done[probe.name] for group in groups for probe in group)


def _made(probe: Probe, seconds: float, causes: tuple[str, ...], found: Mapping[str, Any] | None = None) -> Attempt:
    return Attempt(probe.name, probe.package, _installed(probe.package), seconds, causes, found or {})


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _crash(code: int, stderr: str) -> str:
    if code >= 0:
        last = (stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"the process ended with exit code {code}: {last}"
    names = {int(known): known.name for known in signal.Signals}
    return f"the process crashed with {names.get(-code, f'signal {-code}')}"
