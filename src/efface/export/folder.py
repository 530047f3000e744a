"""The run folder, written whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.backends import save
from efface.backends.base import LoadedCLIP
from efface.export.place import RECORD, check_out
from efface.export.results import RESULTS, write_results
from efface.report.card import render_card
from efface.report.page import render_page
from efface.report.record import Record
from efface.report.sheet import contact_sheet
from efface.types import Images


def write_run(
    folder: Path, record: Record, clip: LoadedCLIP | None, synthetic: Images | None, *, overwrite: bool = False
) -> Path:
    """Writes model, record, scores for other programs, page, card and contact sheet, and returns the folder.

    Args:
        folder: made, with its parents.
        record: what happened.
        clip: the edited model; None leaves out the model and its card.
        synthetic: pixels in [0, 1]; None or no images leave out the contact sheet.
        overwrite: replace a run folder that stands there.

    Raises:
        InputError: See :func:`check_out`.
    """
    check_out(folder, overwrite=overwrite)
    sheet = None if synthetic is None or not len(synthetic) else contact_sheet(synthetic)
    with replacing(folder) as partial:
        (partial / RECORD).write_text(record.to_json(), encoding="utf-8")
        write_results(partial / RESULTS, record)
        (partial / "report.html").write_text(render_page(record, sheet), encoding="utf-8")
        if sheet is not None:
            sheet.save(partial / "synthetic.png")
        if clip is not None:
            (partial / "README.md").write_text(render_card(record, library=clip.library), encoding="utf-8")
            save(clip, partial / "model")
    return folder


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when the block ends well, and is gone when it does not."""
    folder = folder.absolute()
    mark = uuid.uuid4().hex[:8]
    partial = folder.with_name(f".{folder.name}.partial-{mark}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            aside = folder.with_name(f".{folder.name}.replaced-{mark}")
            os.rename(folder, aside)
            try:
                os.rename(partial, folder)
            except BaseException:  # an interrupt too must not lose the old run
                os.rename(aside, folder)
                raise
            shutil.rmtree(aside)
        else:
            os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
