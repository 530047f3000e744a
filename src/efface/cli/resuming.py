"""What ``efface forget`` says of runs that were stopped, and of those that are finished."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface.cli.lines import Stopped, of_system
from efface.errors import EffaceError, InputError, NotFiniteError
from efface.export.place import RECORD, beside
from efface.request import ForgetRequest

if TYPE_CHECKING:  # they need torch, which is slow to import
    from efface.methods.base import ForgetMethod
    from efface.synthesis.base import Synthesizer

    Chosen = tuple[ForgetMethod, Synthesizer]


def check_notes(folder: Path) -> None:
    """Refuses to begin a run where one was stopped; before a word on replacing what is finished there."""
    if beside(folder).is_dir():
        from efface.checkpoints import check_unused  # it imports torch

        check_unused(beside(folder), _way_on(folder))


def _way_on(folder: Path) -> str:
    """The options that go on with a run that was stopped."""
    return "--resume --overwrite" if folder.exists() else "--resume"


@contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Says at whatever ends a run how to go on with it, where there is something to go on from, or that it is whole."""
    from efface.checkpoint_files import has_checkpoints
    from efface.checkpoints import RefusedError

    before = _record_in(folder)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        # An error of efface's own comes before the run is written, even where somebody else's stands there by then.
        if not isinstance(error, EffaceError) and _record_in(folder) not in (None, before):
            hint = f"the run is whole in {folder}: --resume without --overwrite shows it"
        # What is NaN is so again after the same steps.
        elif isinstance(error, RefusedError | NotFiniteError) or not has_checkpoints(beside(folder)):
            raise
        else:
            kept, way_on = beside(folder), _way_on(folder)
            hint = f"what is done is kept in {kept}: the same command with {way_on} goes on from there"
        if isinstance(error, EffaceError):
            error.hint += f"; {hint}"
            raise
        if isinstance(error, OSError):
            raise InputError(of_system(error), hint=f"make room, or look at the path; {hint}") from error
        if isinstance(error, KeyboardInterrupt):
            raise Stopped("interrupted", hint=hint) from None
        error.add_note(hint)
        raise


def _record_in(folder: Path) -> bytes | None:
    path = folder / RECORD
    return path.read_bytes() if path.is_file() else None


def finished(folder: Path, model: str, request: ForgetRequest, chosen: "Chosen", how: Mapping[str, Any]) -> Any:
    """The record of a finished run, which is the answer to ``--resume``.

    Raises:
        RefusedError: If it is a run of another request, or what is noted beside it is of another run.
    """
    from efface.backends.sources import shown
    from efface.checkpoints import check_same, outlived
    from efface.export.folder import read_run
    from efface.export.log import note_run
    from efface.stages import asked, recorded
    from efface.verifying.rerun import PRECISIONS
    from efface.whole import clear_leftovers

    record = read_run(folder)
    data = sorted((source.source, dict(source.where)) for source in record.data)
    names = {short: name for name, short in PRECISIONS.items()}
    words = asked(request, *chosen, model=shown(model), device=how["device"], precision=names.get(how["precision"], ""))
    check_same(
        words | {"data": sorted((source, how["where"]) for source in how["data"])},
        recorded(record) | {"data": data},
        f"{folder} holds a finished run",
        hint="ask for the same to see it again, or choose another --out; --resume --overwrite makes the one that is "
        "asked for now, from its notes if there are any, and replaces that one",
    )
    with outlived(beside(folder), recorded(record), record.created) as is_held:
        if is_held:
            clear_leftovers(folder)
        # It was killed before it could say so itself, maybe.
        note_run(folder, record)
    return record
