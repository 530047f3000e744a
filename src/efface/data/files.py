"""Files that a user names: that they exist, what they say, and what stands for their bytes."""

import csv
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from efface.errors import InputError, counted

# What tells shards of one split apart: -00000-of-00005, with or without the hash that datasets once added; or 0000.
SHARD = re.compile(r"(^|[-_.])\d+(-of-\d+)?(-[0-9a-f]{16})?$")


def must_exist(path: Path, *, hint: str) -> None:
    """Refuses a path that leads nowhere.

    Args:
        path: as the user gave it.
        hint: what would be right; a name beside the missing one that is close to it comes first.

    Raises:
        InputError: If there is neither a file nor a folder.
    """
    # os.path.exists: unlike Path's, it also answers for a text that is too long to be a file name.
    if os.path.exists(path):
        return
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    offer = f"did you mean {str(path.with_name(near[0]))!r}? " if near else ""
    raise InputError(f"{str(path)!r} does not exist", hint=f"{offer}{hint}")


def lines_of(path: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 text without the space around them; blank ones at the end are left out.

    A byte order mark is not part of the first line.

    Raises:
        InputError: If the file does not exist or is no such text.
    """
    must_exist(path, hint="give a text file with one entry a line")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder", hint="give a text file with one entry a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(path)!r} is no UTF-8 text: byte {error.start} cannot be read", hint="save it as UTF-8"
        ) from None
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and rows of a table, as CSV or, in a file that ends in ``.tsv``, with tabs.

    A row that is too short has empty cells; empty cells beyond the columns are left aside. A byte order mark is no part
    of the first name.

    Raises:
        InputError: If the file cannot be read as such a table in UTF-8, or a row has more cells than there are columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            reader = csv.DictReader(file, restval="", delimiter=delimiter)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}", hint="write it as CSV in UTF-8") from error
    for number, row in enumerate(rows):
        # DictReader keeps what is left over under None; spreadsheets leave empty cells.
        left = row.pop(None, ())
        if any(left):
            raise InputError(
                f"row {number} of {str(path)!r} has more cells than the {len(columns)} columns; left over: {left}",
                hint='put a cell with a comma in quotes, as in cat/0.png,"cat, tabby"',
            )
    return columns, rows


def must_hold(table: Path, names: Iterable[str], *, folder: Path) -> None:
    """Refuses a table that names files that are not there.

    Args:
        table: what names them, for the error to say.
        names: paths below the folder.
        folder: where they start from.

    Raises:
        InputError: It counts them.
    """
    missing = [name for name in dict.fromkeys(names) if not name or not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{str(table)!r} names {counted(len(missing), 'missing image')}, {missing[0]!r} first",
            hint=f"paths start from the folder {str(folder)!r}",
        )


def check_parquet(path: Path) -> None:
    """Refuses a file that does not begin and end as parquet files do.

    Raises:
        InputError: If it is so.
    """
    with path.open("rb") as file:
        begins = file.read(4)
        file.seek(max(0, path.stat().st_size - 4))
        ends = file.read(4)
    if begins != b"PAR1":
        raise InputError(
            f"{str(path)!r} is no parquet file",
            hint="of tar shards give the folder that holds classnames.txt"
            if path.suffix == ".tar"
            else "give a parquet file, a folder of parquet shards, or a folder with one folder of images a class",
        )
    if ends != begins:
        raise InputError(
            f"{str(path)!r} cannot be read: it does not end as a parquet file does", hint="copy or write it again"
        )


def parquet_shards(folder: Path) -> list[Path]:
    """The parquet files of one split in a folder, in the order of their names; none where there are none.

    Raises:
        InputError: If there are files of more than one split.
    """
    shards = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".parquet" and not p.name.startswith("."))
    splits = sorted({SHARD.sub("", shard.stem) for shard in shards})
    if len(splits) > 1:
        raise InputError(
            f"{str(folder)!r} holds parquet files of more than one split: {', '.join(map(repr, splits))}",
            hint=f"give one file, such as {str(shards[0])!r}, or a folder with the shards of one split",
        )
    return shards


def check_in(source: str, check: Callable[[tuple[str, ...]], None], entries: tuple[str, ...]) -> None:
    """Runs a check on what a source holds, and names the source in its error.

    Raises:
        InputError: If the check raises one.
    """
    try:
        check(entries)
    except InputError as error:
        raise InputError(f"in {source!r}: {error}", hint=error.hint) from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(digests: Mapping[str, str]) -> str:
    r"""One SHA-256 for many files: that of the text which ``sha256sum`` prints for them in the order of their names.

    The text has a line ``<SHA-256 of the file><space><space><name><newline>`` for each file, sorted by the bytes of
    the names. A name is the path below the folder, with ``/`` between its parts.

    Args:
        digests: from each file's name to the SHA-256 of its bytes.
    """
    lines = (f"{digests[name]}  ".encode() + os.fsencode(name) + b"\n" for name in sorted(digests, key=os.fsencode))
    return hashlib.sha256(b"".join(lines)).hexdigest()
