"""Held-out images from where the user says they are."""

import pkgutil
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from efface.data.decoding import endings
from efface.data.files import check_in, lines_of, parquet_shards, sha256_of_all
from efface.data.formats import MADE, Given, check_options, format_of, parse, wanted
from efface.data.formats.folders import classes_in, has_class_folders
from efface.data.formats.imagenet import are_ids, names_of_ids
from efface.data.formats.webdataset import splits_in
from efface.data.holdout import EvalData
from efface.data.images import BadImages, Chosen, Preprocess, Stored, StoredImages
from efface.data.kinds import CLASS, KeptColumns
from efface.data.prompts import CLASS_NAMES_FILE
from efface.data.symbols import open_symbols
from efface.errors import EffaceWarning, InputError, offer
from efface.request import check_filled, twice

TABLES = (".csv", ".tsv")
ANY = ("any",)
"""The class of images whose labels do not count."""


def open_source(
    source: str,
    *,
    preprocess: Preprocess,
    workers: int = 0,
    where: Mapping[str, str] | None = None,
    skipped: BadImages | None = None,
    labelled: bool = True,
) -> EvalData:
    """The images that a text names: ``PREFIX:PLACE,option=value``, a path whose content tells its format, or the world.

    The table of prefixes is :data:`efface.data.formats.FORMATS`; the embedded world is ``symbols:SPLIT``, see
    :func:`efface.data.symbols.open_symbols`. Class names come from ``classnames.txt`` (beside the file, or in the
    folder; for class folders in the order of their sorted names), else from the format.

    ``sha256`` is that of the file's bytes. Where there are several it is :func:`efface.data.files.sha256_of_all` over
    them, by their path below the folder. ``classnames.txt`` is not part of it, nor are images that a row of a parquet
    file only names by their path; rows that ``where`` leaves out are.

    Args:
        source: as the user gave it.
        preprocess: from an upright RGB image to model input.
        workers: processes that decode images; 0 decodes in this one.
        where: keeps the images that are so: a value for some of the columns that the format has.
        skipped: told of images that cannot be decoded, which are then left out; None stops at the first.
        labelled: whether labels count; else all images are of one class, whatever labels and class names there are.

    Raises:
        InputError: If there is no such data, images that are kept have no label, or its class names do not fit.
    """
    given = parse(source)
    if given.prefix == MADE:
        return open_symbols(source, preprocess=preprocess, where=where)
    form = format_of(given.prefix or _recognized(given))
    check_options(given, form.options, found=form.reads)
    stored = _read(given, form.reader)
    if labelled:
        names = _class_names(given, stored)
        _tell_twice(source, names)
    else:
        names, stored = ANY, replace(stored, labels=torch.zeros_like(stored.labels))
    chosen = _select(source, stored, names, where or {})
    _check_labels(source, chosen, names)
    return EvalData(
        source=source,
        images=StoredImages(chosen.rows, chosen.labels, preprocess, workers, skipped),
        class_names=names,
        sha256=_sha256(stored.digests, is_folder=form.on_disk and given.path.is_dir()),
        where=where or {},
        skipped=skipped or BadImages(),
        columns=chosen.columns,
    )


def _read(given: Given, reader: str) -> Stored:
    stored = pkgutil.resolve_name(reader)(given)
    if not isinstance(stored, Stored):
        raise TypeError(f"{reader} gives {type(stored).__name__}, not Stored")
    return stored


def _recognized(given: Given) -> str:
    """The prefix of the format that a path is of, by its content."""
    if given.path.is_file():
        suffix = given.path.suffix.lower()
        return "csv" if suffix in TABLES else "coop" if suffix == ".json" else "parquet"
    found = _kinds(given)
    if not found:
        known = endings()
        loose = any(path.suffix.lower() in known for path in given.path.iterdir() if path.is_file())
        hint = "it holds images of one class, it seems: give the folder above it" if loose else wanted()
        raise InputError(f"{given.source!r} holds neither parquet files nor folders of images", hint=hint)
    if len(found) > 1:
        raise InputError(
            f"{given.source!r} holds both {' and '.join(found.values())}",
            hint=f"write {' or '.join(f'{prefix}:{given.place}' for prefix in found)}",
        )
    (prefix,) = found
    if prefix == "folders":
        ids = [entry.name for entry in classes_in(given.path)]
        return "imagenet" if are_ids(ids) and set(ids) <= names_of_ids().keys() else prefix
    return prefix


def _kinds(given: Given) -> dict[str, str]:
    """What a folder can be read as: from the prefix to what it holds."""
    folder = given.path
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return {"saved": "a saved data set"}
    if splits_in(folder):
        return {"wds": "tar shards"}
    found = {}
    if parquet_shards(folder):
        found["parquet"] = "parquet files"
    if has_class_folders(folder):
        found["folders"] = "folders of images"
    return found


def _select(source: str, stored: Stored, names: tuple[str, ...], where: Mapping[str, str]) -> Stored:
    """The rows that are all of these; the class is a column of any format."""
    if not len(stored.labels):
        raise InputError(f"{source!r} holds no image", hint="give data with images")
    keep = list(range(len(stored.labels)))
    for name, value in where.items():
        if name in stored.columns:
            column = [str(cell) for cell in stored.columns[name]]
        elif name == CLASS:
            column = [names[label] if 0 <= label < len(names) else "" for label in stored.labels.tolist()]
        else:
            raise InputError(f"{source!r} has no column {name!r}", hint=offer(name, [*stored.columns, CLASS]))
        if value not in column:
            # Not all of them: a column may hold a value a row.
            known = sorted(set(column))[:20]
            raise InputError(f"no image of {source!r} has {name}={value}", hint=offer(value, known))
        keep = [row for row in keep if column[row] == value]
    if not keep:
        raise InputError(f"no image of {source!r} is all of {dict(where)!r}", hint="ask for less at once")
    if not where:
        return stored
    rows, columns = Chosen(stored.rows, tuple(keep)), KeptColumns(stored.columns, keep)
    return replace(stored, rows=rows, labels=stored.labels[keep], columns=columns)


def _class_names(given: Given, stored: Stored) -> tuple[str, ...]:
    file = None if stored.home is None else stored.home / CLASS_NAMES_FILE
    if file is None or not file.is_file():
        if stored.class_names is None:
            beside = f"write them to {str(file)!r}, one a line in label order" if file else "save it with class names"
            raise InputError(f"{given.source!r} has labels but no class names", hint=beside)
        check_in(given.source, check_filled, stored.class_names)
        return stored.class_names
    names = lines_of(file)
    check_in(str(file), check_filled, names)
    if stored.class_names is not None:
        _check_order(file, names, stored.class_names)
    return names


def _tell_twice(source: str, names: tuple[str, ...]) -> None:
    """Published lists of ImageNet have two names for two classes each: such data are measured as they are."""
    found = twice(names)
    if found:
        told = ", ".join(map(repr, found))
        text = f"in {source!r}, each of these class names means several classes, which no text tells apart: {told}"
        warnings.warn(text, EffaceWarning, stacklevel=4)
    alike = twice([_spelt(name) for name in set(names)])
    if alike:
        told = ", ".join(repr(name) for name in names if _spelt(name) in alike)
        text = f"in {source!r}, these classes differ in capitals or underscores alone: {told}"
        warnings.warn(text, EffaceWarning, stacklevel=4)


def _spelt(name: str) -> str:
    """What is left of a name for most tokenizers, but for the underscore."""
    return " ".join(name.replace("_", " ").casefold().split())


def _check_order(file: Path, names: tuple[str, ...], stored: tuple[str, ...]) -> None:
    if len(names) != len(stored):
        raise InputError(
            f"{str(file)!r} has {len(names)} class names, but the images have {len(stored)} classes",
            hint=f"give one name a line, in the order of {', '.join(map(repr, stored[:3]))}...",
        )
    # Other names are other words for the classes; the same names in another order would be wrong labels.
    if names != stored and sorted(names) == sorted(stored):
        raise InputError(
            f"{str(file)!r} has the class names in another order than the images' labels",
            hint=f"delete it, or start it with {', '.join(map(repr, stored[:3]))}",
        )


def _check_labels(source: str, stored: Stored, names: tuple[str, ...]) -> None:
    unlabelled = int((stored.labels == -1).sum())
    if unlabelled:
        raise InputError(
            f"{unlabelled} of the {len(stored.labels)} rows of {source!r} have no label (-1 or none)",
            hint="give a split with labels, as test splits of some sets have none; or choose images with --eval-where",
        )
    low, high = int(stored.labels.min()), int(stored.labels.max())
    if low < 0 or high >= len(names):
        raise InputError(
            f"the labels of {source!r} lie between {low} and {high}, but there are {len(names)} class names",
            hint="a label is the row of its class name, counted from 0",
        )


def _sha256(digests: Mapping[str, str], *, is_folder: bool) -> str:
    is_one = len(digests) == 1 and not is_folder
    return next(iter(digests.values())) if is_one else sha256_of_all(digests)
