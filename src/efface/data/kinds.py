"""Images of one kind within a class (a design, a breed, a camera), told apart by what a source knows of its images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from efface.data.holdout import EvalData, Kind
from efface.errors import InputError, offer

CLASS = "class"
"""The column of class names, which every source has."""


@dataclass(frozen=True, slots=True)
class KeptColumns(Mapping[str, Sequence[object]]):
    """The columns of some rows alone, each read when it is asked for.

    Attributes:
        columns: of all rows.
        rows: those that are kept.
    """

    columns: Mapping[str, Sequence[object]]
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Sequence[object]:
        column = self.columns[name]
        return [column[row] for row in self.rows]


def of_kind(source: EvalData, where: Mapping[str, str]) -> EvalData:
    """The source with images of a kind told apart from its others; all of it stays.

    Args:
        source: some images.
        where: a value for some of its columns, ``class`` among them; nothing for all images.

    Raises:
        InputError: If it has no such column.
    """
    if not where:
        return source
    rows = torch.ones(len(source.images), dtype=torch.bool)
    for name, value in where.items():
        rows &= torch.tensor([str(cell) == value for cell in _column(source, name)], dtype=torch.bool)
    return replace(source, kind=Kind(dict(where), rows))


def judging_kind(source: EvalData, names: Sequence[str], where: Mapping[str, str]) -> EvalData:
    """Held-out images with those of a kind told apart, where any are of the classes.

    Args:
        source: held-out images.
        names: the classes of which those of a kind are the *forget* split; all classes where there are none.
        where: as for :func:`of_kind`.

    Raises:
        InputError: If it has images of the classes and no such column.
    """
    if names and not source.of_classes(names).any():
        return source
    missing = [name for name in where if name != CLASS]
    if missing and not source.columns:
        raise InputError(
            f"{source.source!r} has no columns: of its images of the class those with {missing[0]}={where[missing[0]]} "
            "cannot be told from the others",
            hint="give a table, domains or another format that tells them apart by a column, or leave this source out",
        )
    return of_kind(source, where)


def check_has(source: EvalData, name: str) -> None:
    """Refuses images of which none is of the class, and of the kind where only those of one kind count.

    Raises:
        InputError: The hint offers the nearest class names, or values of the columns.
    """
    if source.has_images_of(name):
        return
    kind = source.kind
    if kind is None or not source.of_classes([name]).any():
        known = list(dict.fromkeys(source.class_names))
        raise InputError(f"{source.source!r} has no image of {name!r}", hint=offer(name, known[:1000]))
    of_class = source.of_classes([name]).nonzero()[:, 0].tolist()
    for column, value in kind.where.items():
        cells = _column(source, column)
        # Not all of them: a column may hold a value a row.
        known = sorted({str(cells[row]) for row in of_class})[:20]
        if value not in known:
            raise InputError(
                f"no image of {name!r} in {source.source!r} has {column}={value}", hint=offer(value, known)
            )
    raise InputError(
        f"no image of {name!r} in {source.source!r} is all of {dict(kind.where)!r}", hint="ask for less at once"
    )


def of_classes_so(source: EvalData) -> tuple[str, ...]:
    """The names of the classes that have images of the kind."""
    rows: Bool[Tensor, " images"] = torch.ones(len(source.images), dtype=torch.bool)
    labels = source.images.labels[rows if source.kind is None else source.kind.rows]
    return tuple(source.class_names[label] for label in torch.unique(labels).tolist())


def _column(source: EvalData, name: str) -> Sequence[object]:
    if name in source.columns:
        return source.columns[name]
    if name == CLASS:
        return [source.class_names[label] for label in source.images.labels.tolist()]
    raise InputError(f"{source.source!r} has no column {name!r}", hint=offer(name, [*source.columns, CLASS]))
