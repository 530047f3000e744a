"""The checkpoints of one stage of a run: files that are there whole or not at all, of which the last two are kept.

A file is a state as torch saves it, and after it the digest of all its bytes. With the state stands a digest of all
that it was made from: it is used where it belongs, and nowhere else.
"""

import hashlib
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from efface.errors import EffaceError, EffaceWarning
from efface.fitting import lack, lacks_memory
from efface.plain import plain_text
from efface.types import State
from efface.whole import remove_empty, written_whole

FORMAT = 2
"""Of the files; another one is not read."""
KEPT = 2
NAME = re.compile(r"\d{8}\.checkpoint")
UNFINISHED = re.compile(rf"\.{NAME.pattern}\.partial-[0-9a-f]{{8}}")
"""What a process that was killed while it wrote one left."""
DIGEST = hashlib.sha256().digest_size
BLOCK = 2**20
VALUES = (Tensor, nn.Parameter, bool, int, float, str, type(None))
"""What can be read back without running code that a file brings along; subclasses cannot."""


class Stage:
    """How far one stage of a run is: a :class:`~efface.types.Checkpoint`.

    Args:
        folder: of its files; None keeps nothing.
        inputs: all that what it makes depends on, the run's request aside.
        offered: told that there is something to note; it calls :meth:`write` when it is time to.

    Attributes:
        seconds: that were spent on what is noted, by runs that were stopped.
        result: what the finished stage made; None where it is not finished.
        is_done: whether what was offered last is what it made.
        wrote: when its last file was written.
        took: seconds that this took; 0 before the first.
    """

    def __init__(self, folder: Path | None, inputs: Mapping[str, Any], offered: "Callable[[Stage], None]") -> None:
        self._folder, self._offered = folder, offered
        self._inputs = hashlib.sha256(plain_text(inputs).encode()).hexdigest()
        self._known: State | None = None
        self._last: Callable[[], State] | None = None
        self._damaged: list[Path] = []
        self.seconds, self.took, self.is_done = 0.0, 0.0, False
        self.result: State | None = None
        self._read()
        self._since = self.wrote = time.monotonic()

    def take(self) -> State | None:
        """What was noted last, once."""
        self._since = time.monotonic()
        known, self._known = self._known, None
        return known

    def offer(self, state: Callable[[], State]) -> None:
        """Notes how far the stage is, if it is time to; else when the run notes something next.

        Raises:
            EffaceError: If the state holds something that could not be read back.
            OSError: If it cannot be written.
        """
        self._offer(state, is_done=False)

    def finish(self, state: Callable[[], State]) -> None:
        """The same of what the finished stage made.

        Raises:
            EffaceError: If the state holds something that could not be read back.
            OSError: If it cannot be written.
        """
        self._offer(state, is_done=True)

    def write(self) -> None:
        """Notes what was offered last, if it is not noted yet; the last two are kept, and none that is damaged.

        What a finished stage made, and could not be read back, is warned of: the run has no other fault.

        Raises:
            EffaceError: If the state of a stage that goes on holds something that could not be read back.
            OSError: If it cannot be written.
        """
        if self._folder is None or self._last is None:
            return
        began = time.monotonic()
        numbers = [int(path.stem) for path in files(self._folder)]
        path = self._folder / f"{max(numbers, default=0) + 1:08d}.checkpoint"
        try:
            write_checkpoint(path, self._last(), self._inputs)
        except EffaceError as error:
            if not self.is_done:
                raise
            text = f"what the stage {self._folder.name} made is not noted, and made again after a stop: {error}"
            warnings.warn(text, EffaceWarning, stacklevel=4)
        else:
            self._prune(self._folder)
        self._last, self.wrote = None, time.monotonic()
        self.took = self.wrote - began

    def _prune(self, folder: Path) -> None:
        while self._damaged:
            self._damaged.pop().unlink(missing_ok=True)
        for old in files(folder)[:-KEPT]:
            old.unlink()

    def _offer(self, state: Callable[[], State], *, is_done: bool) -> None:
        if self._folder is not None:
            seconds = self.seconds + time.monotonic() - self._since
            self.is_done = is_done
            self._last = lambda: {"done": is_done, "seconds": seconds, "state": dict(state())}
            self._offered(self)

    def _read(self) -> None:
        """Takes the last checkpoint that is whole and of these inputs."""
        if self._folder is None:
            return
        for left in self._folder.glob(".*"):
            if UNFINISHED.fullmatch(left.name):
                left.unlink()
        for path in reversed(files(self._folder)):
            try:
                noted = read_checkpoint(path, self._inputs)
            except DamagedError as error:
                text = f"the checkpoint {path} is damaged: {error}; the run goes on from what was noted before it"
                warnings.warn(text, EffaceWarning, stacklevel=3)
                self._damaged.append(path)
                continue
            if noted is not None:
                self.seconds = noted["seconds"]
                self.result, self._known = (noted["state"], None) if noted["done"] else (None, noted["state"])
                return


class DamagedError(Exception):
    """A checkpoint that cannot be used; its text says why."""


def write_checkpoint(path: Path, state: State, inputs: str) -> None:
    """Writes a state whole or not at all, with its digest and that of what it was made from.

    It goes to the disk as it is, without a copy of it in memory.

    Raises:
        EffaceError: If it holds something that could not be read back.
        OSError: If it cannot be written, on a full disk say.
    """
    odd = next(_odd(state), None)
    if odd is not None:
        raise EffaceError(
            f"a checkpoint cannot hold {odd}",
            hint="what a method or a synthesis notes are tensors, numbers, texts, and lists and tables of them",
        )
    with written_whole(path) as partial, partial.open("w+b") as file:
        torch.save({"format": FORMAT, "inputs": inputs, "state": dict(state)}, file)
        end = file.tell()
        file.seek(0)
        digest = _digest(file, end)
        file.write(digest)


def read_checkpoint(path: Path, inputs: str) -> dict[str, Any] | None:
    """The state in a file, on the CPU; None where it was made from something else, or in another format.

    Raises:
        DamagedError: If it is not what was written.
        MemoryLackError: If memory does not do for it.
        OSError: If it cannot be read now.
    """
    with path.open("rb") as file:
        end = path.stat().st_size - DIGEST
        if end < 0 or _digest(file, end) != file.read():
            raise DamagedError("its bytes do not have the digest that it says")
        file.seek(0)
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            raise lack(f"the checkpoint {path}", error) from error
    if found["format"] != FORMAT or found["inputs"] != inputs:
        return None
    state: dict[str, Any] = found["state"]
    return state


def has_checkpoints(folder: Path) -> bool:
    """Whether a stage has noted something in a folder below this one."""
    return any(files(stage) for stage in folder.glob("*/"))


def clear(folder: Path) -> None:
    """Removes the checkpoints of all stages in a folder, and nothing else but their folders, if they are empty then."""
    for stage in folder.glob("*/"):
        for path in stage.iterdir():
            if NAME.fullmatch(path.name) or UNFINISHED.fullmatch(path.name):
                path.unlink()
        remove_empty([stage])


def files(stage: Path) -> list[Path]:
    """The checkpoints of a stage, the oldest first."""
    return sorted(path for path in stage.glob("*.checkpoint") if NAME.fullmatch(path.name))


def _digest(file: IO[bytes], end: int) -> bytes:
    """Of the bytes up to there; the file is then read so far."""
    total = hashlib.sha256()
    while end > 0:
        block = file.read(min(BLOCK, end))
        if not block:
            raise DamagedError("it became shorter while it was read")
        total.update(block)
        end -= len(block)
    return total.digest()


def _odd(value: Any, place: str = "") -> Iterator[str]:
    """What in a state could not be read back, and where it stands."""
    if type(value) in (dict, OrderedDict):
        for key, inner in value.items():
            yield from _odd(key, f"{place} as a key")
            yield from _odd(inner, f"{place}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, inner in enumerate(value):
            yield from _odd(inner, f"{place}[{i}]")
    elif type(value) not in VALUES:
        yield f"a {type(value).__name__}, which stands at {place or 'its root'}"
