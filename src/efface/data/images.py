"""Labelled images on disk that are decoded as they are handed out."""

import bisect
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from efface.data.decoding import Encoded, decode
from efface.errors import EffaceError, InputError
from efface.types import Images, Labels, row_order

Pixels = Float[Tensor, "3 height width"]
"""One image as the model takes it."""
Preprocess = Callable[[Image.Image], Pixels]
"""What makes model input of an upright RGB image."""
Rows = Int[Tensor, " batch"]
"""Which images of a source, by their place in it."""


@runtime_checkable
class EncodedImages(Protocol):
    """Images on disk, by row. Must survive pickling, as worker processes get a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some rows of a source."""

    rows: EncodedImages
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, row: int) -> Encoded:
        return self.rows[self.chosen[row]]


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows of several sources, one source after the other."""

    parts: tuple[EncodedImages, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, row: int) -> Encoded:
        ends = list(itertools.accumulate(map(len, self.parts)))
        part = bisect.bisect_right(ends, row)
        return self.parts[part][row - (ends[part - 1] if part else 0)]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the reader of a format found.

    Attributes:
        rows: the images.
        labels: one a row, from 0; -1 where a row has none.
        class_names: in label order; None where the format has none.
        digests: the SHA-256 of each file, by its path below the source's folder.
        columns: what else is known of the rows, one value a row, as ``--where`` asks for it.
        home: the folder in which ``classnames.txt`` may give other names, or the only ones; None for none.
    """

    rows: EncodedImages
    labels: Labels
    class_names: tuple[str, ...] | None
    digests: Mapping[str, str]
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)
    home: Path | None = None


def labels_of(labels: Sequence[int], source: str) -> Labels:
    """The labels of a source as a tensor.

    Args:
        labels: as the source has them.
        source: as the user gave it, for the error to say.

    Raises:
        InputError: If one is no number of 64 bits.
    """
    beyond = next((label for label in labels if not -(2**63) <= label < 2**63), None)
    if beyond is not None:
        raise InputError(f"{source!r} has the label {beyond}", hint="a label is the row of its class name, from 0")
    return torch.tensor(labels, dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class Captioned:
    """What the reader of a format with captions found.

    Attributes:
        rows: the images.
        captions: the captions of each image, as the source has them.
        digests: the SHA-256 of each file, by its path below the source's folder.
    """

    rows: EncodedImages
    captions: tuple[tuple[str | None, ...], ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BadImages:
    """Images that could not be decoded and were left out.

    Attributes:
        reasons: from the row of each to what was wrong, in the order in which they came.
    """

    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Labelled images that stay on disk until their batch comes.

    Attributes:
        rows: where the images are.
        labels: one a row.
        preprocess: from an upright RGB image to model input.
        workers: processes that decode; 0 decodes in this one. Each holds at most two batches ready.
        skipped: told of every image that cannot be decoded, which is then left out of its batch; None stops at one.
    """

    rows: EncodedImages
    labels: Labels
    preprocess: Preprocess
    workers: int = 0
    skipped: BadImages | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, size: int, *, rng: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Images, Labels]]:
        """Every image once, ``size`` at a time: shuffled by ``rng``, else as stored; without the ``first``.

        Raises:
            InputError: If an image of the batch cannot be decoded and is not to be skipped.
        """
        # Drawn here and not in a worker, so that the order is the same for any number of workers.
        yield from self.in_order(row_order(len(self), rng)[first:], size)

    def in_order(self, rows: Rows, size: int) -> Iterator[tuple[Images, Labels]]:
        """The images of these rows in this order, ``size`` at a time; a row may come more than once.

        A batch of which all images were skipped does not come.

        Raises:
            InputError: If an image of the batch cannot be decoded and is not to be skipped.
        """
        loader = DataLoader(
            _Decoded(self.rows, self.labels, self.preprocess),
            batch_sampler=[rows[first : first + size].tolist() for first in range(0, len(rows), size)],
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_begin_worker,
            # A loader draws a seed for its workers: not from torch's global generator, which is the caller's.
            generator=torch.Generator(),
        )
        with _no_signals():
            batches = iter(loader)
        for batch in batches:
            self._leave_out(batch.failures)
            if batch.images is not None:
                yield batch.images, batch.labels

    def _leave_out(self, failures: list["_Failure"]) -> None:
        for failure in failures:
            if self.skipped is None:
                raise InputError(failure.message, hint=failure.hint)
            self.skipped.reasons[failure.row] = failure.message


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Puts it into words where a process that decodes images was ended from outside, for want of memory say.

    To be held around all that is done with batches: torch says so wherever the main process is at that moment.

    Raises:
        EffaceError: In place of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        said = " ".join(str(error).split())[:200]
        raise EffaceError(
            f"a process that decodes images was ended from outside: {said}",
            hint="where memory ran out, take fewer --workers (0: this process decodes) or a smaller --batch-size",
        ) from error


@contextmanager
def _no_signals() -> Iterator[None]:
    """Holds signals back while workers begin: before :func:`_begin_worker` they would answer one with a traceback."""
    if not hasattr(signal, "sigwaitinfo"):  # on macOS workers must not begin deaf, see there
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(_: int) -> None:
    """Leaves Ctrl-C and a signal to end to the main process, which gets them too, and ends its workers in peace."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # else, on macOS, torch's own handler stays, which ends it at any such signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_heed_parent, daemon=True).start()
    sys.excepthook = _say_unless_left


def _heed_parent() -> None:
    """Ends the process at a signal to end that the main process sends: at its own end it waits for that."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _say_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints what ends a thread, but not that the main process was interrupted while it was handed a batch."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An InputError on its way out of a worker: torch re-raises exceptions with one argument, which loses the hint."""

    row: int
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a worker hands over."""

    images: Images | None
    labels: Labels
    failures: list[_Failure]


class _Decoded(Dataset[tuple[Pixels, int] | _Failure]):
    def __init__(self, rows: EncodedImages, labels: Labels, preprocess: Preprocess) -> None:
        self._rows = rows
        self._labels = labels
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Pixels, int] | _Failure:
        encoded = self._rows[row]
        try:
            image = decode(encoded)
        except InputError as error:
            return _Failure(row, str(error), error.hint)
        return self._preprocess(image), int(self._labels[row])


def _collate(items: list[tuple[Pixels, int] | _Failure]) -> _Batch:
    # Here and not after the worker: one tensor goes through shared memory, not one an image.
    found = [item for item in items if not isinstance(item, _Failure)]
    return _Batch(
        images=torch.stack([pixels for pixels, _ in found]) if found else None,
        labels=torch.tensor([label for _, label in found], dtype=torch.int64),
        failures=[item for item in items if isinstance(item, _Failure)],
    )
