"""Whether page and card say what the record says: they are made of it, so they are made again and compared."""

from pathlib import Path

from efface.export.folder import card_of, page_of
from efface.export.place import (
    AUDIT,
    AUDIT_AGAIN,
    AUDIT_PARTIAL,
    CARD,
    LOG,
    MODEL,
    PAGE,
    RECORD,
    RESULTS,
    RETRIEVED,
    SYNTHETIC,
)
from efface.report.document import Sealed
from efface.report.environment import environment

_MAKERS = {PAGE: (page_of, ("efface", "pillow")), CARD: (card_of, ("efface",))}
"""What makes each of a folder and its record, and the packages whose versions decide to the byte what comes out."""
_OF_A_RUN = (MODEL, RESULTS, RECORD, PAGE, CARD, SYNTHETIC, RETRIEVED, AUDIT, AUDIT_PARTIAL, AUDIT_AGAIN, LOG)


def check_rendered(folder: Path, sealed: Sealed) -> tuple[list[str], list[str]]:
    """What speaks against page and card, and what was not looked at.

    They are compared with what this version of efface makes of the record. Where they differ, and the record was
    written by another version, nothing can be said.

    Returns:
        Problems, and notes.
    """
    problems, notes = [], []
    for name in (PAGE,) if sealed.weights.result is None else (PAGE, CARD):
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
        elif not _is_rendered(folder, sealed, name):
            others = _other_versions(sealed, name)
            if others:
                notes.append(f"{name} was not checked: it differs from what this version makes of the record, {others}")
            else:
                problems.append(f"{name} is not what the record makes; efface report writes a page anew")
    unknown = sorted(path.name for path in folder.iterdir() if path.name not in _OF_A_RUN)
    if unknown:
        notes.append(f"not of the run, and not looked at: {', '.join(unknown)}")
    return problems, notes


def _is_rendered(folder: Path, sealed: Sealed, name: str) -> bool:
    make, _ = _MAKERS[name]
    try:
        made = make(folder, sealed)
    except Exception:  # noqa: BLE001 (of a forged record anything may come, but not the page that lies there)
        return False
    return (folder / name).read_bytes() == made.encode("utf-8")


def _other_versions(sealed: Sealed, name: str) -> str:
    """With which versions it was made, where they are not those that are installed."""
    _, packages = _MAKERS[name]
    installed, then = environment(), sealed.environment
    return ", ".join(
        f"{package} {then.get(package)} then and {installed[package]} now"
        for package in packages
        if then.get(package) != installed[package]
    )
