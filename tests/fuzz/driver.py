"""Runs drawn command lines in this process, and says what was wrong about how they ended."""

import contextlib
import gc
import io
import os
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import hypothesis

from efface.cli import run
from tests.cli.asking import ANSI
from tests.fuzz.cases import Case, cases
from tests.fuzz.material import DRAWN, WORLD, write_drawn, write_material

SECONDS = 120
"""After which a command counts as one that does not end; a damaged configuration may ask for a large model."""
CODES = (0, 1, 2)
CACHE = "home/hf"
"""Where ``datasets`` keeps its copies of what it has read, which stand for no output."""
Tree = dict[str, tuple[int, int]]


class TooSlow(BaseException):
    """No Exception, so that no handler takes it for a fault of the input."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code; None where it ended with an exception.
        out: what it said on standard output.
        err: what it said on standard error, without colors.
        faults: what must not be, in words; none where all is as it should be.
    """

    code: int | None
    out: str
    err: str
    faults: tuple[str, ...]


class Ground:
    """A folder in which commands are run, one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with self._inside():
            write_material(root)
        shutil.copytree(root / WORLD, root.with_name(f"{root.name}-kept"), copy_function=shutil.copy2)

    def attempt(self, case: Case) -> Outcome:
        """Runs a command, and puts everything back as it was."""
        with self._inside():
            write_drawn(self.root, case.files, case.copies)
            before = self._tree()
            code, out, err, fault = _captured(list(case.arguments))
            after = self._tree()
            if any(path.startswith("tmp/") for path in after):
                gc.collect()
                after = self._tree()
        faults = [fault] if fault else _said_wrongly(code, err)
        faults += _left(before, after, (CACHE, *case.notes, *(case.outputs if code in (0, 1) else ())))
        self._tidy(before, after)
        return Outcome(code, out, err, tuple(faults))

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        for name in ("home", "tmp", "out", DRAWN):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        there = Path.cwd()
        os.chdir(self.root)
        places = {"HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"), "COLUMNS": "80"}
        try:
            with (
                mock.patch.dict(os.environ, places),
                mock.patch.object(tempfile, "tempdir", str(self.root / "tmp")),
                mock.patch.object(datasets.config, "HF_DATASETS_CACHE", self.root / CACHE),
            ):
                yield
        finally:
            os.chdir(there)

    def _tree(self) -> Tree:
        found = {}
        for path in self.root.rglob("*"):
            status = path.lstat()
            found[path.relative_to(self.root).as_posix()] = (
                (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
            )
        return found

    def _tidy(self, before: Tree, after: Tree) -> None:
        for name in after.keys() - before.keys():
            if "/" not in name:
                _remove(self.root / name)
        for name in ("home", "tmp", "out", DRAWN):
            _remove(self.root / name)
        if any(before.get(path) != after.get(path) for path in before.keys() | after.keys() if path.startswith(WORLD)):
            _remove(self.root / WORLD)
            shutil.copytree(self.root.with_name(f"{self.root.name}-kept"), self.root / WORLD)


def run_many(
    ground: Ground, count: int, seed: int, note: Callable[[Case, Outcome], None], known: set[str] | None = None
) -> None:
    """Draws so many different cases from a seed, runs each, and hands on how it ended.

    Args:
        ground: where they run.
        count: how many.
        seed: of what is drawn.
        note: told of each case.
        known: cases that are not drawn, as texts; those that are come to it.
    """
    seen = set[str]() if known is None else known

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def each(case: Case) -> None:
        hypothesis.assume(repr(case) not in seen)
        seen.add(repr(case))
        note(case, ground.attempt(case))

    each()


def _captured(arguments: list[str]) -> tuple[int | None, str, str, str]:
    """Exit code, standard output and error, and the traceback of what was raised, if anything was."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    code, fault = None, ""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(mock.patch("sys.stdin", io.StringIO()))
        stack.enter_context(_limited(SECONDS))
        try:
            code = run(arguments)
        except BaseException:  # noqa: BLE001 (whatever comes out of it is a fault)
            fault = traceback.format_exc()
    return code, _text(out), ANSI.sub("", _text(err)), fault


def _text(file: io.TextIOWrapper) -> str:
    buffer: Any = file.buffer
    return str(buffer.getvalue().decode("utf-8"))


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow(f"it did not end in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _said_wrongly(code: int | None, err: str) -> list[str]:
    """What an exit code, and the lines on standard error, must not be."""
    labels = [line.split(":")[0] for line in err.splitlines()]
    counts = (labels.count("error"), labels.count("hint"))
    faults = []
    if code not in CODES:
        faults.append(f"exit code {code}: {err}")
    if "Traceback" in err:
        faults.append(f"a traceback was printed: {err}")
    if code == 2 and counts != (1, 1):
        faults.append(f"{counts[0]} error and {counts[1]} hint lines: {err}")
    if code == 0 and counts != (0, 0):
        faults.append(f"an error though the exit code is 0: {err}")
    return faults


def _left(before: Tree, after: Tree, allowed: tuple[str, ...]) -> list[str]:
    """What changed elsewhere than where the command was asked to write."""
    places = [os.path.normpath(place) for place in allowed if place]
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [
        f"{path} was {'left' if path not in before else 'changed' if path in after else 'taken away'}"
        for path in changed
        if not any(_belongs(path, place, path not in before) for place in places)
    ]


def _belongs(path: str, place: str, is_new: bool) -> bool:
    """Whether a path is a place, in it, a new folder above it, or the log of the runs beside it."""
    log = (f"{os.path.dirname(place)}/runs.jsonl", f"{os.path.dirname(place)}/.runs.jsonl.lock")
    return f"{path}/".startswith(f"{place}/") or (is_new and place.startswith(f"{path}/")) or path in log


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
