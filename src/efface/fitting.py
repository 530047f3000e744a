"""Batches in as many parts as fit into memory.

A batch goes through a model in parts. Where memory lacks, the part is halved, done again, and stays that small: nothing
that was done before is lost. An accelerator says when its memory lacks; a CPU does not, so there parts begin small and
are doubled while what the last one took says that twice as much stays below a limit that was asked for.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from efface.errors import EffaceError, EffaceWarning
from efface.types import State

FIRST = 8
"""Items of the first part, where a limit on a CPU is to be kept."""
GIB = 2**30
LACKS = ("_ALLOC_FAILED", "CUDA error: out of memory")
"""How libraries of CUDA, cuBLAS say, and a kernel at its start say that memory lacks; accelerate knows none of it."""
NO_LACK = "CUDNN_STATUS_NOT_SUPPORTED"
"""What accelerate takes for a lack of memory, and may be a kind of tensor that cuDNN does not take."""


class MemoryLackError(EffaceError):
    """Memory does not even do for the smallest part."""


class Fitting:
    """How many items go through a model at a time.

    Args:
        size: at most.
        what: the items, for warnings to name.
        limit: bytes that this process may hold, for a model on a CPU; None for as many as there are.

    Attributes:
        size: at most, from here on.
        part: now.
        limit: as given; None too where it cannot be kept.
    """

    def __init__(self, size: int, what: str = "images", limit: int | None = None) -> None:
        self.size, self._what, self.limit = size, what, limit
        self.part = size if limit is None else min(size, FIRST)

    def __call__(self, work: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
        """What ``work`` makes of all items, joined along the first axis.

        Raises:
            MemoryLackError: If memory does not do for one item.
        """
        found: list[Tensor] = []
        done = 0
        while done < len(items):
            part = items[done : done + self.part]
            made = self._tried(work, part)
            if made is None:
                # Not before the exception is gone, whose traceback holds what was made until then.
                clear_device_cache()
                continue
            found.append(made)
            done += len(part)
        return found[0] if len(found) == 1 else torch.cat(found)

    def keep_to(self, part: int) -> None:
        """No more than this many at a time from here on."""
        self.size = self.part = min(part, self.size)

    def state(self) -> State:
        """What it takes to go on with as many: the argument of :meth:`load_`."""
        return {"size": self.size, "part": self.part, "limit": self.limit}

    def load_(self, state: State) -> None:
        """Goes back to a state, of work that began with the same size and limit."""
        self.size, self.part, self.limit = state["size"], state["part"], state["limit"]

    def _tried(self, work: Callable[[Tensor], Tensor], items: Tensor) -> Tensor | None:
        try:
            if self.limit is None:
                return work(items)
            with _watched() as held:
                made = work(items)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            if len(items) == 1:
                raise lack(f"one of the {self._what}", error) from error
            self._halve(len(items), "memory does not do for")
            return None
        self._adapt(len(items), *held, limit=self.limit)
        return made

    def _adapt(self, count: int, before: int, most: int, *, limit: int) -> None:
        """Doubles the parts, or halves them, by what the last one took."""
        over = f"{most / GIB:.2f} GiB, more than was asked for, were held"
        if before > limit or (most > limit and count == 1):
            # No smaller part would help.
            self.limit = None
            self._settle(f"{over}, {before / GIB:.2f} of them before any of the {self._what}: {self.part}")
        elif most > limit:
            self._halve(count, f"{over} with")
        elif count == self.part < self.size and before + 2 * (most - before) <= limit:
            self.part = min(2 * self.part, self.size)
        elif count == self.part < self.size:
            self._settle(f"{most / GIB:.2f} GiB were held with {count} {self._what}: no more than that")

    def _settle(self, text: str) -> None:
        """Goes on with as many as now, and says so once."""
        self.keep_to(self.part)
        warnings.warn(f"{text} at a time from here on", EffaceWarning, stacklevel=5)

    def _halve(self, count: int, why: str) -> None:
        self.keep_to(max(1, count // 2))
        text = f"{why} {count} {self._what} at a time: {self.part} from here on"
        warnings.warn(text, EffaceWarning, stacklevel=5)


def lack(of: str, error: BaseException) -> MemoryLackError:
    """The error where memory does not do and nothing is left to be made smaller."""
    said = " ".join(str(error).split())[:200]
    return MemoryLackError(
        f"memory does not do for {of}: {said}", hint="free memory, raise --max-memory, or use a smaller model"
    )


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that there is not enough memory."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(text in said for text in LACKS):
        return True
    return NO_LACK not in said and bool(should_reduce_batch_size(error))


@contextmanager
def limited(device: torch.device, limit: int | None) -> Iterator[None]:
    """Holds torch to a limit on a GPU while the block lasts: beyond it, memory lacks.

    Args:
        device: where the model is.
        limit: bytes; None for as many as there are.
    """
    if limit is None or device.type != "cuda":
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def resident() -> int:
    """Bytes of memory that this process holds now."""
    held: int = psutil.Process().memory_info().rss
    return held


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Fills in how much memory is held when the block begins, and at most while it lasts."""
    before = resident()
    found = [before, before]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found[1] = max(found[1], resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found[1] = max(found[1], resident())
