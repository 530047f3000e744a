"""A run folder on a small world, and ways to damage it."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import efface
from efface.backends.base import LoadedCLIP
from efface.errors import EffaceWarning
from efface.export.folder import card_of, page_of
from efface.measuring import Options
from efface.methods.projection import Projection
from efface.report.document import SchemaError, payload_sha256, read
from tests.worlds import NAMES, World


def write_run_of(clip: LoadedCLIP, world: World, folder: Path) -> Path:
    """Forgets the dog, on pictures that lie in the folder too, so that a test may damage its own copy of them."""
    data = folder / "pictures"
    shutil.copytree(world.data, data)
    method = Projection(strength=2.0)
    return efface.forget(clip, "dog", among=NAMES, method=method, data=[str(data)]).save(folder / "run")


def write_run_without_dogs(clip: LoadedCLIP, world: World, folder: Path) -> Path:
    """A run whose result has none of the dogs right, and takes all of them for cats or foxes."""
    for strength in (2.0, 8.0, 32.0):
        run = efface.forget(clip, "dog", among=NAMES, method=Projection(strength=strength), data=[world.data])
        forgotten = next(s for s in run.record.scores.after if s.split == "forget")
        if forgotten.value == 0:
            return run.save(folder / "run")
    raise AssertionError("no strength forgets the dog")


def write_run_of_some(clip: LoadedCLIP, world: World, folder: Path) -> Path:
    """The same on the pictures of one of two domains, of which one cannot be decoded and is left out."""
    for domain in ("photo", "sketch"):
        shutil.copytree(world.data, folder / "pictures" / domain)
    (folder / "pictures" / "sketch" / "dog" / "2.png").write_bytes(b"broken")
    options = Options(where={"domain": "sketch"}, on_bad_image="skip")
    data, method = f"domains:{folder / 'pictures'}", Projection(strength=2.0)
    with pytest.warns(EffaceWarning, match="1 of the 12 images"):
        made = efface.forget(clip, "dog", among=NAMES, method=method, data=[data], options=options)
    return made.save(folder / "run")


def copied(folder: Path, target: Path) -> Path:
    """A run folder and its pictures elsewhere; the record says that they were always there."""
    shutil.copytree(folder.parent, target, dirs_exist_ok=True)
    text = (target / "run" / "record.json").read_text(encoding="utf-8")
    document = json.loads(text.replace(str(folder.parent / "pictures"), str(target / "pictures")))
    write_record(target / "run", document, sealed=True)
    return target / "run"


def record_of(run: Path) -> dict[str, Any]:
    """The record as any program reads it."""
    loaded: dict[str, Any] = json.loads((run / "record.json").read_text(encoding="utf-8"))
    return loaded


def write_record(run: Path, document: dict[str, Any], *, sealed: bool) -> None:
    """Writes a record back; ``sealed`` with a digest, a page and a card that fit, as whoever knows how would."""
    if sealed:
        document["sha256"] = payload_sha256(document)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (run / "record.json").write_text(text, encoding="utf-8")
    if sealed:
        with suppress(SchemaError):
            record = read(run / "record.json")
            (run / "report.html").write_text(page_of(run, record), encoding="utf-8")
            (run / "README.md").write_text(card_of(run, record), encoding="utf-8")


def flip(path: Path, at: int) -> None:
    """Flips one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
