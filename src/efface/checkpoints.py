"""Checkpoints of a run: what it goes on from after it was stopped at any moment, in the middle of a write too.

A run is a chain of stages. Each notes how far it is in a folder of its own, in files that are there whole or not at all
and carry their digest; the last two are kept. Each file also carries a digest of all that goes into its stage, of what
the stages before it made too: a checkpoint is used where it belongs, and nowhere else.
"""

import json
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from efface.checkpoint_files import Stage, clear, has_checkpoints
from efface.errors import EffaceWarning, InputError
from efface.plain import differences, plain, plain_text
from efface.records.fields import TIME
from efface.whole import clear_leftovers, make_parents, remove_empty, written_whole

EVERY = 10.0
"""Seconds between two times that a run notes something, at least: a run that is shorter notes nothing."""
SHARE = 0.05
"""Of a stage's time, at most, that goes into its checkpoints, but for the first and the last: large ones come less
often."""
PATIENCE = 10.0
"""Seconds to wait for a working folder: the worker processes of a run that was killed may hold it for five."""
REQUEST, LOCK = "request.json", "lock"
KIND = "working folder 1"
"""What tells such a folder, and its form."""


class Working:
    """The working folder of a run, in which its stages keep their checkpoints; one run at a time has it.

    It has it until it is closed or discarded, or nothing refers to it any more.

    Args:
        folder: made where it is not there; None keeps nothing.
        request: all that the run depends on from its start.
        resume: go on from what is there.
        overwrite: delete what is there of another request; without either it must hold no checkpoints.

    Raises:
        RefusedError: If another run has the folder, it is none of a run, it holds checkpoints and neither was asked
            for, those to go on with are of another request, or those to delete of the same.
    """

    def __init__(
        self, folder: Path | None, request: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.folder = folder
        self._stages: list[Stage] = []
        self._wrote = time.monotonic()
        if folder is None:
            return
        _check_kind(folder)
        made = make_parents(folder / LOCK)
        try:
            lock = _locked(folder, PATIENCE)
        except BaseException:
            remove_empty(made)
            raise
        self._closing = weakref.finalize(self, _close, folder, made, lock)
        try:
            self._text = _begin(folder, request, resume=resume, overwrite=overwrite)
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
        stage = Stage(None if self.folder is None else self.folder / name, inputs, self._note)
        self._stages.append(stage)
        return stage

    def _note(self, offered: Stage) -> None:
        """Writes what the stages have offered since, if the last time is long enough ago for what it cost.

        Those that have ended are written too: of many short ones none may ever be the one that is due.
        """
        now = time.monotonic()
        if now - self._wrote < EVERY or (not offered.is_done and now - offered.wrote < offered.took / SHARE):
            return
        for stage in self._stages:
            stage.write()
        self._wrote = time.monotonic()

    @contextmanager
    def noting(self) -> Iterator["Working"]:
        """Has the folder after the block too, until the run is written, but for an error."""
        try:
            yield self
        except BaseException:
            self.close()
            raise
        # What the stages were offered last would keep models alive as long as the run.
        self._stages.clear()

    def close(self) -> None:
        """Lets others have the folder, and removes it where nothing was noted in it."""
        self._stages.clear()
        if self.folder is not None:
            self._closing()

    def is_held(self) -> bool:
        """Whether there is a folder and nobody else can have it: it is not closed yet, and stands where it was."""
        if self.folder is None or not self._closing.alive:
            return False
        try:
            return (self.folder / REQUEST).read_text(encoding="utf-8") == self._text
        except OSError:
            return False

    def discard(self) -> None:
        """Removes the folder of a run that is written; one that others may have by now stays."""
        if self.folder is not None and self.is_held():
            with suppress(OSError):
                clear(self.folder)
        self.close()


class RefusedError(InputError):
    """A working folder that cannot be used for what was asked."""


def check_unused(folder: Path, way_on: str = "--resume") -> None:
    """Refuses a working folder that holds checkpoints.

    Args:
        folder: the working folder.
        way_on: the options that go on with it.

    Raises:
        RefusedError: If it does.
    """
    if has_checkpoints(folder):
        raise RefusedError(
            f"{folder} holds what a run noted that was stopped",
            hint=f"{way_on} goes on with it; to begin anew, remove that folder, or choose another --out",
        )


@contextmanager
def outlived(folder: Path, request: Mapping[str, Any], created: str) -> Iterator[bool]:
    """Has a working folder while the block lasts, and then removes it: its run is written. Yields whether there is one.

    Args:
        folder: the working folder.
        request: what is known of that run's.
        created: when that run was.

    Raises:
        RefusedError: If it holds checkpoints of another request, or of a run that was begun after that, or another
            process has it.
    """
    if _known(folder) is None:
        yield False
        return
    with _held(folder, PATIENCE):
        if has_checkpoints(folder):
            _check_outlived(folder, request, created)
        yield True
        _remove(folder)


def _check_outlived(folder: Path, request: Mapping[str, Any], created: str) -> None:
    known = _known(folder) or {}
    both = request.keys() & known["request"].keys()
    written, noted = ({name: one[name] for name in both} for one in (request, known["request"]))
    hint = "ask for that with --resume --overwrite to go on with it, rename it to go on elsewhere, or remove it"
    check_same(written, noted, f"{folder} holds what a run noted that was stopped,", hint=hint)
    if known["begun"] > created:
        raise RefusedError(
            f"{folder} holds what a later run noted that was stopped",
            hint="--resume --overwrite goes on with it; to see the run that is finished, remove or rename that folder",
        )


def check_same(asked: Mapping[str, Any], stored: Mapping[str, Any], what: str, *, hint: str) -> None:
    """Refuses to take one request for another.

    Raises:
        RefusedError: It names what differs.
    """
    found = list(differences(plain(asked), plain(stored)))
    if found:
        verb = "differs" if len(found) == 1 else "differ"
        raise RefusedError(f"{what} of another request: {', '.join(found)} {verb}", hint=hint)


def _begin(folder: Path, request: Mapping[str, Any], *, resume: bool, overwrite: bool) -> str:
    """Goes on or begins anew; the text of the request as it is noted."""
    known = _known(folder)
    if resume and known is not None and has_checkpoints(folder):
        same = "ask for the same, with all files of the model as they were, to go on"
        hint = f"{same}; --overwrite without --resume deletes it, and begins anew"
        check_same(request, known["request"], f"{folder} holds what was noted", hint=hint)
        return (folder / REQUEST).read_text(encoding="utf-8")
    if not overwrite:
        check_unused(folder)
    elif known is not None and has_checkpoints(folder):
        # To do the same again could only end on the same bits, later.
        if plain(request) == known["request"]:
            check_unused(folder, "--resume --overwrite")
        text = f"what a run of another request noted in {folder} is deleted now"
        warnings.warn(text, EffaceWarning, stacklevel=5)
    clear(folder)
    document = {"efface": KIND, "begun": datetime.now(UTC).strftime(TIME), "request": request}
    with written_whole(folder / REQUEST) as partial:
        partial.write_text(plain_text(document), encoding="utf-8")
    return plain_text(document)


def _locked(folder: Path, patience: float) -> FileLock:
    was_known = _known(folder) is not None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience)
        if was_known and _known(folder) is None:  # many versions of filelock make the folder anew
            _remove(folder)
            lock.release()
            raise FileNotFoundError
    except Timeout:
        hint = "let it end, save or drop a run that this program has there, or choose another --out"
        raise RefusedError(f"another process works in {folder}", hint=hint) from None
    except FileNotFoundError:  # what is done is not to be done again unasked
        hint = "look at what it wrote, or run the command again"
        raise RefusedError(f"another process worked in {folder} and has removed it", hint=hint) from None
    return lock


@contextmanager
def _held(folder: Path, patience: float) -> Iterator[None]:
    lock = _locked(folder, patience)
    try:
        yield
    finally:
        lock.release()


def _close(folder: Path, made: list[Path], lock: FileLock) -> None:
    """Lets others have a folder, and removes it, and those above it that were made for it, where it holds no notes."""
    try:
        if not has_checkpoints(folder):
            _remove(folder)
            remove_empty(made)
    finally:
        lock.release()


def _check_kind(folder: Path) -> None:
    """Refuses what is no working folder; one whose request was not written yet has a lock in it at most."""
    if not folder.exists() or _known(folder) is not None:
        return
    # The names that begin with a dot are those of a file that was not finished.
    if not folder.is_dir() or any(path.name != LOCK and path.name[0] != "." for path in folder.iterdir()):
        raise RefusedError(f"{folder} is not the working folder of a run, or is damaged", hint="move it away")


def _known(folder: Path) -> dict[str, Any] | None:
    """What is noted of the run that was begun in a folder; None where none was."""
    try:
        found = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("efface") != KIND:
        return None
    is_whole = isinstance(found.get("request"), dict) and isinstance(found.get("begun"), str)
    return found if is_whole else None


def _remove(folder: Path) -> None:
    """Removes a working folder, and leaves what others put there; the request last, so that it is known until then."""
    with suppress(OSError):
        clear(folder)
        (folder / REQUEST).unlink(missing_ok=True)
        clear_leftovers(folder / REQUEST)
        (folder / LOCK).unlink(missing_ok=True)
    remove_empty([folder])
