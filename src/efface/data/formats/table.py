"""A CSV file with a row an image: a path and a label."""

from efface.data.files import must_hold, read_table, sha256_of
from efface.data.formats import Given
from efface.data.formats.folders import ImageFiles
from efface.data.images import Stored, labels_of
from efface.data.prompts import CLASS_NAMES_FILE, class_names_from
from efface.errors import InputError
from efface.request import position

PATHS = ("path", "file_name", "filepath", "file", "filename", "image")
"""Columns of paths; the first that the table has counts."""
LABELS = ("label", "class", "class_name", "classname", "labels")
"""Columns of labels; the first that the table has counts."""


def read(given: Given) -> Stored:
    """The images that a table names by their paths below its folder, or from the root.

    Labels are names or, where all are whole numbers, rows of ``classnames.txt`` beside the table. Names stand in the
    order of that file too, else in sorted order; an empty cell is no label. All other columns can be asked for with
    ``--where``.

    Raises:
        InputError: If the table cannot be read, has no such columns or no row, names a file that is not there, or has
            a label that no class name goes with.
    """
    table = given.path
    columns, rows = read_table(table)
    path, label = (_column(given, columns, known) for known in (PATHS, LABELS))
    if not rows:
        raise InputError(f"{given.source!r} holds no row", hint="give a row an image")
    paths = tuple(row[path] for row in rows)
    must_hold(table, paths, folder=table.parent)
    labels, names = _labels([row[label].strip() for row in rows], given)
    return Stored(
        rows=ImageFiles(table.parent, paths),
        labels=labels_of(labels, given.source),
        class_names=names,
        digests={table.name: sha256_of(table)} | {name: sha256_of(table.parent / name) for name in set(paths)},
        columns={name: [row[name] for row in rows] for name in columns if name not in (path, label)},
        home=table.parent,
    )


def _column(given: Given, columns: list[str], known: tuple[str, ...]) -> str:
    for name in known:
        if name in columns:
            return name
    raise InputError(
        f"{given.source!r} has the columns {', '.join(columns) or 'none'}",
        hint="part the columns with commas"
        if len(columns) == 1 and ";" in columns[0]
        else f"it needs one called {' or '.join(PATHS)}, and one called {' or '.join(LABELS)}",
    )


def _labels(cells: list[str], given: Given) -> tuple[list[int], tuple[str, ...] | None]:
    said = set(cells) - {""}
    if all(cell.removeprefix("-").isdecimal() for cell in said):
        return [int(cell or -1) for cell in cells], None
    file = given.path.parent / CLASS_NAMES_FILE
    names = class_names_from(file) if file.is_file() else tuple(sorted(said))
    rows = {name: position(name, names) for name in said}
    return [rows.get(cell, -1) for cell in cells], names
