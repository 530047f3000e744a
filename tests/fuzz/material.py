"""What fuzzed command lines are run against: a small world on disk, and files that are drawn or damaged.

Everything lies below one folder, which is the working folder of every command, its home and its place for temporary
files too: whatever a command leaves somewhere is seen.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, features

WORLD = "world"
"""Below the folder: what is there for every command, and none may change."""
DRAWN = "in"
"""Below the folder: what was drawn for one command."""
KINDS = tuple(
    kind for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp") if kind != "webp" or features.check("webp")
)
NAMES = ("cat", "dog", "fox")


@dataclass(frozen=True, slots=True)
class Edit:
    """A place in a file, how many bytes go there, and what comes in their stead; the place wraps around."""

    at: int
    cut: int
    put: bytes


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file of the world with some edits; of none, what the edits put into an empty one."""

    base: str = ""
    edits: tuple[Edit, ...] = ()

    def content(self, root: Path) -> bytes:
        """The bytes of the file."""
        found = (root / WORLD / self.base).read_bytes() if self.base else b""
        return edited(found, self.edits)


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON file of the world in which one value is another one, or left out, or there under a name of its own."""

    base: str
    at: int
    how: str
    value: Any

    def content(self, root: Path) -> bytes:
        """The bytes of the file."""
        document = json.loads((root / WORLD / self.base).read_text(encoding="utf-8"))
        holder, key = _places(document)[self.at % len(_places(document))]
        if self.how == "replace":
            holder[key] = self.value
        elif self.how == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[str(self.value)] = self.value
        else:
            holder.append(self.value)
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class Table:
    """A parquet file with some edits; columns whose cells are of no one kind become texts."""

    columns: tuple[tuple[str, tuple[Any, ...]], ...]
    edits: tuple[Edit, ...] = ()

    def content(self, root: Path) -> bytes:
        """The bytes of the file."""
        file = io.BytesIO()
        pq.write_table(pa.table({name: _column(cells) for name, cells in self.columns}), file)
        return edited(file.getvalue(), self.edits)


@dataclass(frozen=True, slots=True)
class Header:
    """A safetensors file of the world with another header."""

    base: str
    header: bytes
    says: int
    """What the file says of the header's length, less what it is."""

    def content(self, root: Path) -> bytes:
        """The bytes of the file."""
        found = (root / WORLD / self.base).read_bytes()
        data = found[8 + int.from_bytes(found[:8], "little") :]
        length = max(0, len(self.header) + self.says) % 2**64
        return length.to_bytes(8, "little") + self.header + data


Content = Bytes | Json | Table | Header


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The bytes after the edits, one after the other."""
    for edit in edits:
        at = edit.at % (len(content) + 1)
        content = content[:at] + edit.put + content[at + edit.cut :]
    return content


def write_drawn(root: Path, files: Mapping[str, Content], copies: Mapping[str, str]) -> None:
    """Writes what was drawn: whole folders of the world first, then files, which may lie in them."""
    for name, base in copies.items():
        shutil.copytree(root / WORLD / base, root / DRAWN / name)
    for name, content in files.items():
        path = root / DRAWN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.content(root))


def write_material(root: Path) -> None:
    """Two models, a run, keys, a recipe, and pictures in several formats."""
    import efface
    from efface import checkpoints
    from efface.pretraining.toml import to_toml
    from efface.request import TEMPLATES
    from tests.keys import write_keys
    from tests.pretraining.recipes import tables
    from tests.tiny_open_clip import VIT, write_open_clip
    from tests.tiny_transformers import write_transformers

    world = root / WORLD
    model = write_transformers(world / "clip")
    write_open_clip(world / "open_clip", VIT)
    _write_pictures(world)
    (world / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    (world / "templates.txt").write_text("a photo of a {}.\nthe {}\n", encoding="utf-8")
    (world / "templates.json").write_text(json.dumps({"one": list(TEMPLATES), "two": ["{c}"]}), encoding="utf-8")
    (world / "recipe.toml").write_text(to_toml(tables(f"{WORLD}/pictures", steps=1)), encoding="utf-8")
    write_keys(world)
    # By the path that a command in this folder gives, which the record keeps.
    data = f"{WORLD}/pictures"
    efface.forget(efface.load(model), "dog", among=NAMES, method="projection", data=[data]).save(world / "run")
    # The same, stopped before it is written.
    with mock.patch.object(checkpoints, "EVERY", 0.0):
        clip, begun = efface.load(f"{WORLD}/clip"), f"{WORLD}/begun.partial"
        efface.forget(clip, "dog", among=NAMES, method="projection", data=[data], working=begun)


def _write_pictures(world: Path) -> None:
    import datasets

    rows = []
    for label, name in enumerate(NAMES):
        (world / "pictures" / name).mkdir(parents=True)
        for index in range(2):
            picture = Image.effect_noise((40, 36), 20 + 30 * label + index).convert("RGB")
            picture.save(world / "pictures" / name / f"{index}.png")
            rows.append((f"pictures/{name}/{index}.png", name))
    (world / "images").mkdir()
    for kind in KINDS:
        Image.effect_noise((24, 20), 60).convert("RGB").save(world / "images" / f"one.{kind}")
    lines = "".join(f"{path},{name}\n" for path, name in rows)
    (world / "table.csv").write_text(f"path,label\n{lines}", encoding="utf-8")
    split = {"train": [[path.removeprefix("pictures/"), NAMES.index(name), name] for path, name in rows]}
    (world / "split.json").write_text(json.dumps({"train": [], "val": [], "test": split["train"]}), encoding="utf-8")
    _write_shards(world / "shards", [world / path for path, _ in rows])
    made = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    cells = {
        "image": [{"bytes": (world / path).read_bytes(), "path": None} for path, _ in rows],
        "label": [NAMES.index(name) for _, name in rows],
    }
    saved = datasets.Dataset.from_dict(cells, features=made)
    saved.to_parquet(world / "images.parquet")
    saved.save_to_disk(world / "saved")


def _write_shards(folder: Path, pictures: Sequence[Path]) -> None:
    (folder / "test").mkdir(parents=True)
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for row, picture in enumerate(pictures):
            label = str(NAMES.index(picture.parent.name)).encode()
            for ending, content in (("png", picture.read_bytes()), ("cls", label)):
                entry = tarfile.TarInfo(f"s{row}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    (folder / "test" / "nshards.txt").write_text("1\n", encoding="utf-8")
    (folder / "classnames.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every value in a document by what holds it and its key or place there."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    found: list[tuple[Any, Any]] = []
    for key, value in inside:
        found.append((document, key))
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def _column(cells: Sequence[Any]) -> pa.Array:
    try:
        made = pa.array(cells)
        pq.write_table(pa.table({"column": made}), io.BytesIO())  # an empty struct, say, has no place in such a file
        return made
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([repr(cell) for cell in cells])
