"""The run folder, written whole or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from efface.backends import save
from efface.backends.base import LoadedCLIP
from efface.data.files import sha256_of
from efface.errors import InputError
from efface.evaluation.detail import Picture
from efface.export.log import note_run
from efface.export.place import AUDIT, CARD, MODEL, PAGE, RECORD, RESULTS, RETRIEVED, SYNTHETIC, check_out, check_run
from efface.export.results import write_results
from efface.report.audit import read_audit
from efface.report.card import OnHub, license_of, render_card
from efface.report.document import SchemaError, Sealed, read, seal
from efface.report.page import render_page
from efface.report.record import FileDigest, Record
from efface.report.sheet import contact_sheet, picture_sheet, read_sheet, save_sheet
from efface.types import Images
from efface.whole import written_whole

VERIFY = "efface verify says more"


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a run: pixels in [0, 1].

    Attributes:
        synthetic: images that were made of the class; None or none where there are none.
        retrieved: held-out images that its text finds, as the record counts them.
    """

    synthetic: Images | None = None
    retrieved: tuple[Picture, ...] = ()


def write_run(
    folder: Path, record: Record, clip: LoadedCLIP | None, pictures: Pictures, *, overwrite: bool = False
) -> Path:
    """Writes model, record, scores for other programs, page, card and sheets of pictures, and returns the folder.

    Args:
        folder: made, with its parents.
        record: what happened.
        clip: the edited model; None leaves out the model and its card.
        pictures: what page and folder show.
        overwrite: replace a run folder that stands there.

    Raises:
        InputError: See :func:`check_out`.
    """
    check_out(folder, overwrite=overwrite)
    with written_whole(folder) as partial:
        partial.mkdir()
        if pictures.synthetic is not None and len(pictures.synthetic):
            save_sheet(contact_sheet(pictures.synthetic), partial / SYNTHETIC)
        if pictures.retrieved:
            save_sheet(picture_sheet(pictures.retrieved), partial / RETRIEVED)
        write_results(partial / RESULTS, record)
        if clip is not None:
            save(clip, partial / MODEL)
        sealed = seal(replace(record, files=file_digests(partial)))
        (partial / RECORD).write_text(sealed.to_json(), encoding="utf-8")
        (partial / PAGE).write_text(page_of(partial, sealed), encoding="utf-8")
        if clip is not None:
            card = _card(partial, sealed, clip.card)
            (partial / CARD).write_text(card, encoding="utf-8")
    note_run(folder, sealed)
    return folder


def model_source(folder: Path) -> str:
    """The name by which the model of a run folder loads.

    Raises:
        InputError: If the folder has none.
    """
    model = folder / MODEL
    if not model.is_dir():
        raise InputError(f"{str(folder)!r} has no model", hint="give the folder of a run that made one")
    return str(model)


def page_of(folder: Path, record: Sealed) -> str:
    """The page of a run, from its record, the pictures that lie in its folder, and an audit where there is one.

    Raises:
        InputError: If the audit cannot be read, or is of another run.
    """
    audit = read_audit(folder / AUDIT) if (folder / AUDIT).is_file() else None
    if audit is not None and audit.subject.record != record.sha256:
        raise InputError(f"{str(folder / AUDIT)!r} is of another run", hint="remove it, and run efface audit again")
    return render_page(record, read_sheet(folder / SYNTHETIC), read_sheet(folder / RETRIEVED), audit)


def card_of(folder: Path, record: Sealed, *, hub: OnHub | None = None) -> str:
    """The card of a run, from its record, and the license that stands in its card: it is the base's, not recorded."""
    return _card(folder, record, folder / CARD, hub)


def _card(folder: Path, record: Sealed, licensed: Path | None, hub: OnHub | None = None) -> str:
    library = "open_clip" if (folder / MODEL / "open_clip_config.json").is_file() else "transformers"
    return render_card(record, library=library, license=license_of(licensed), hub=hub)


def file_digests(folder: Path) -> tuple[FileDigest, ...]:
    """All plain files of a run folder but the record itself, and page and card, which are made of it."""
    return tuple(
        FileDigest(name, sha256_of(path), path.stat().st_size)
        for name, path in _inside(folder)
        if name not in (RECORD, PAGE, CARD) and path.is_file() and not path.is_symlink()
    )


def not_plain(folder: Path) -> tuple[str, ...]:
    """What in a run folder is neither a plain file nor a folder: links, to whatever, and pipes; by its path in it."""
    return tuple(name for name, path in _inside(folder) if path.is_symlink() or not (path.is_file() or path.is_dir()))


def _inside(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a run consists of, by its path in the folder; no link is followed, and what others put there is left out."""
    names = {path: path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))}
    for path, name in names.items():
        if name.split("/")[0] in (MODEL, RESULTS) or name in (RECORD, PAGE, CARD, SYNTHETIC, RETRIEVED):
            yield name, path


def read_run(folder: Path) -> Sealed:
    """The record of a run folder.

    Raises:
        InputError: If it is none, or its record cannot be used, or was changed after it was written.
    """
    check_run(folder)
    try:
        sealed = read(folder / RECORD)
    except SchemaError as error:
        raise InputError(f"{str(folder / RECORD)!r}: {error}", hint=VERIFY) from None
    if seal(sealed).sha256 != sealed.sha256:
        raise InputError(f"the record in {str(folder)!r} was changed after it was written", hint=VERIFY)
    return sealed


def replace_file(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
