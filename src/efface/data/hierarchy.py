"""A file that says which classes are siblings."""

from pathlib import Path

from efface.data.files import lines_of
from efface.errors import InputError


def read_hierarchy(path: Path) -> dict[str, str]:
    """The group of each class.

    A line has a class and its group with a tab between them; or, where any line has a semicolon behind the tab, a group
    and its classes, with semicolons between these.

    Args:
        path: a UTF-8 text.

    Raises:
        InputError: If it cannot be read, a line has no tab or nothing on a side of it, or a class has two groups.
    """
    rows = [line.split("\t") for line in lines_of(path) if line]
    broken = next((row for row in rows if len(row) != 2 or not all(cell.strip() for cell in row)), None)
    if broken is not None or not rows:
        found = "no line" if broken is None else f"the line {chr(9).join(broken)!r}"
        raise InputError(f"{str(path)!r} has {found}", hint="write a class, a tab and its group on each line")
    pairs = [(one.strip(), other.strip()) for one, other in rows]
    if any(";" in other for _, other in pairs):
        pairs = [(name.strip(), group) for group, names in pairs for name in names.split(";") if name.strip()]
    groups: dict[str, str] = {}
    for name, group in pairs:
        if groups.setdefault(name, group) != group:
            raise InputError(
                f"{str(path)!r} has {name!r} in two groups, {groups[name]!r} and {group!r}", hint="give each class one"
            )
    return groups
