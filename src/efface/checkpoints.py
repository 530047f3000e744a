"""Checkpoints of a run: what it goes on from after it was stopped at any moment, in the middle of a write too.

A run is a chain of stages. Each notes how far it is in a folder of its own, in files that are there whole or not at all
and carry their digest; the last two are kept. Each file also carries a digest of all that goes into its stage, of what
the stages before it made too: a checkpoint is used where it belongs, and nowhere else.
"""

import hashlib
import io
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from filelock import FileLock, Timeout

from efface.errors import EffaceWarning, InputError
from efface.types import State
from efface.whole import written_whole

FORMAT = 1
"""Of the files; another one is not read."""
KEPT = 2
EVERY = 10.0
"""Seconds between two checkpoints of a run, at least: a run that is shorter writes none."""
SHARE = 0.05
"""Of the time, at most, that goes into checkpoints: large ones come less often."""
SUFFIX = ".partial"
"""What the working folder beside a run folder is called after it."""
REQUEST, LOCK = "request.json", "lock"


class Stage:
    """How far one stage of a run is: a :class:`~efface.types.Checkpoint`.

    Args:
        working: the run's working folder.
        name: of the stage.
        inputs: all that what it makes depends on.

    Attributes:
        seconds: that were spent on what is noted, by runs that were stopped.
        result: what the finished stage made; None where it is not finished.
    """

    def __init__(self, working: "Working", name: str, inputs: Mapping[str, Any]) -> None:
        self._working, self._inputs = working, hashlib.sha256(_plain(inputs).encode()).hexdigest()
        self._folder = None if working.folder is None else working.folder / name
        self._known: State | None = None
        self.seconds = 0.0
        self.result: State | None = None
        self._read()
        self._since = time.monotonic()

    def take(self) -> State | None:
        """What was noted last, once."""
        self._since = time.monotonic()
        known, self._known = self._known, None
        return known

    def offer(self, state: Callable[[], State]) -> None:
        """Notes how far the stage is, if the last checkpoint of the run is old enough.

        Raises:
            OSError: If it cannot be written.
        """
        self._offer(state, is_done=False)

    def finish(self, state: Callable[[], State]) -> None:
        """The same of what the finished stage made.

        Raises:
            OSError: If it cannot be written.
        """
        self._offer(state, is_done=True)

    def _offer(self, state: Callable[[], State], *, is_done: bool) -> None:
        if self._folder is None or not self._working.is_due(is_done=is_done):
            return
        began = time.monotonic()
        seconds = self.seconds + time.monotonic() - self._since
        noted = {"done": is_done, "seconds": seconds, "state": dict(state())}
        numbers = [int(path.stem) for path in _files(self._folder)]
        write_checkpoint(self._folder / f"{max(numbers, default=0) + 1:08d}.checkpoint", noted, self._inputs)
        for old in _files(self._folder)[:-KEPT]:
            old.unlink()
        self._working.wrote(time.monotonic() - began)

    def _read(self) -> None:
        """Takes the last checkpoint that is whole, and deletes those that are damaged or of other inputs."""
        if self._folder is None:
            return
        for left in self._folder.glob(".*"):
            left.unlink()
        for path in reversed(_files(self._folder)):
            try:
                noted = read_checkpoint(path, self._inputs)
            except DamagedError as error:
                text = f"the checkpoint {path} is damaged: {error}; the run goes on from what was noted before it"
                warnings.warn(text, EffaceWarning, stacklevel=2)
                path.unlink()
                continue
            if noted is None:
                path.unlink()
                continue
            self.seconds = noted["seconds"]
            self.result, self._known = (noted["state"], None) if noted["done"] else (None, noted["state"])
            return


class Working:
    """The working folder of a run, in which its stages keep their checkpoints; one process at a time has it.

    Args:
        folder: made where it is not there; None keeps nothing.
        request: all that the run depends on from its start.
        resume: go on from what is there; else it is cleared.

    Raises:
        RefusedError: If another process has the folder, it is none of a run, or the run to go on with was begun with
            another request.
    """

    def __init__(self, folder: Path | None, request: Mapping[str, Any], *, resume: bool = False) -> None:
        self.folder = folder
        self._wrote, self._took = time.monotonic(), 0.0
        if folder is None:
            return
        begun = is_working_folder(folder)
        # The names that begin with a dot are those of a file that was not finished.
        if folder.exists() and not begun and any(p.name != LOCK and p.name[0] != "." for p in folder.iterdir()):
            raise RefusedError(f"{folder} is not the working folder of a run", hint="move it away")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RefusedError(
                f"another process works in {folder}", hint="let it end, or choose another --out"
            ) from None
        try:
            self._begin(folder, request, resume=resume and begun)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Working":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stage(self, name: str, inputs: Mapping[str, Any]) -> Stage:
        """The checkpoints of one stage.

        Args:
            name: of the stage.
            inputs: all that what it makes depends on, the request aside.
        """
        return Stage(self, name, inputs)

    def is_due(self, *, is_done: bool = False) -> bool:
        """Whether the last checkpoint is old enough for another one; for that of a finished stage it soon is."""
        return time.monotonic() - self._wrote >= (EVERY if is_done else max(EVERY, self._took / SHARE))

    def wrote(self, took: float) -> None:
        """A checkpoint was written just now, and took so many seconds."""
        self._wrote, self._took = time.monotonic(), took

    def close(self) -> None:
        """Lets others have the folder, and removes it where nothing was noted in it."""
        if self.folder is None:
            return
        if not has_checkpoints(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _begin(self, folder: Path, request: Mapping[str, Any], *, resume: bool) -> None:
        if resume:
            found = sorted(_differences(json.loads(_plain(request)), _stored(folder)))
            if found:
                raise RefusedError(
                    f"the run in {folder} was begun with another request: {', '.join(found)} differ"
                    + ("s" if len(found) == 1 else ""),
                    hint="ask for the same to go on, or leave out --resume to begin anew",
                )
            return
        if has_checkpoints(folder):
            text = f"what an earlier run noted in {folder} is cleared, and all of it done again; --resume goes on"
            warnings.warn(text, EffaceWarning, stacklevel=4)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        with written_whole(folder / REQUEST) as partial:
            partial.write_text(_plain(request), encoding="utf-8")


class RefusedError(InputError):
    """A working folder that cannot be used for what was asked."""


class DamagedError(Exception):
    """A checkpoint that cannot be used; its text says why."""


def write_checkpoint(path: Path, state: State, inputs: str) -> None:
    """Writes a state whole or not at all, with its digest and that of what it was made from.

    Raises:
        OSError: If it cannot be written, on a full disk say.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getvalue()
    head = {"format": FORMAT, "inputs": inputs, "sha256": hashlib.sha256(payload).hexdigest()}
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(json.dumps(head).encode() + b"\n" + payload)


def read_checkpoint(path: Path, inputs: str) -> dict[str, Any] | None:
    """The state in a file, on the CPU; None where it was made from something else, or in another format.

    Raises:
        DamagedError: If it is not what was written.
    """
    try:
        first, _, payload = path.read_bytes().partition(b"\n")
        head = json.loads(first)
        expected = head["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DamagedError("it has no head that can be read") from error
    if head.get("format") != FORMAT or head.get("inputs") != inputs:
        return None
    if hashlib.sha256(payload).hexdigest() != expected:
        raise DamagedError("its bytes do not have the digest that it says")
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def beside(run: Path) -> Path:
    """The working folder of a run folder."""
    return run.with_name(run.name + SUFFIX)


def is_working_folder(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (folder / REQUEST).is_file()


def discard(folder: Path) -> None:
    """Removes a working folder whose run is written."""
    if is_working_folder(folder):
        shutil.rmtree(folder, ignore_errors=True)


def has_checkpoints(folder: Path) -> bool:
    """Whether there is something in a folder that a run could go on from."""
    return any(folder.glob("*/*.checkpoint"))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.checkpoint"))


def _plain(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, indent=1, default=str, ensure_ascii=False)


def _stored(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    except ValueError:
        raise RefusedError(f"{folder / REQUEST} is damaged", hint="leave out --resume to begin anew") from None
    return found


def _differences(asked: Mapping[str, Any], stored: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name in asked.keys() | stored.keys():
        one, other = asked.get(name), stored.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}"
