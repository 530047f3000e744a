"""The formats that labelled images come in, one file each, and the table that they are looked up in.

A source is written ``PREFIX:PLACE,option=value``, or as a path alone where its content tells the format. Nothing here
imports torch, so that a wrong source is refused at once.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from efface.data.files import check_parquet, must_exist
from efface.errors import InputError, offer
from efface.paths import path_of


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        reads: what it is, for people.
        reader: ``module:function`` that makes :class:`~efface.data.images.Stored` of a :class:`Given`; imported when
            it is needed, since some take seconds to import.
        options: what may follow the place as ``,name=value``.
        on_disk: whether the place is a path.
        takes: what must stand at that path.
    """

    reads: str
    reader: str
    options: tuple[str, ...] = ()
    on_disk: bool = True
    takes: Literal["file", "folder", "either"] = "either"


_TORCHVISION = "efface.data.formats.torchvision_sets:read"
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "folders": Format("one folder of images a class", "efface.data.formats.folders:read", takes="folder"),
        "domains": Format(
            "domain/class/image, as PACS or DomainNet", "efface.data.formats.domains:read", takes="folder"
        ),
        "imagenet": Format(
            "one folder a class, named by WordNet ids", "efface.data.formats.imagenet:read", takes="folder"
        ),
        "csv": Format("a table of paths and labels", "efface.data.formats.table:read", takes="file"),
        "parquet": Format("a parquet file, or a folder of shards", "efface.data.formats.parquet:read"),
        "saved": Format(
            "what datasets' save_to_disk wrote", "efface.data.formats.saved:read", ("split",), takes="folder"
        ),
        "hf": Format(
            "a data set of the Hugging Face Hub",
            "efface.data.formats.hub:read",
            ("split", "config", "revision"),
            on_disk=False,
        ),
        "wds": Format(
            "webdataset, as CLIP_benchmark lays it out",
            "efface.data.formats.webdataset:read",
            ("split",),
            takes="folder",
        ),
        "coop": Format(
            "a split_zhou JSON file of CoOp", "efface.data.formats.coop:read", ("split", "images"), takes="file"
        ),
        "dogs": Format("Stanford Dogs, as it is unpacked", "efface.data.formats.dogs:read", ("split",), takes="folder"),
        "cifar10": Format("torchvision's CIFAR10", _TORCHVISION, ("split",), takes="folder"),
        "cifar100": Format("torchvision's CIFAR100", _TORCHVISION, ("split",), takes="folder"),
        "stl10": Format("torchvision's STL10", _TORCHVISION, ("split",), takes="folder"),
        "food101": Format("torchvision's Food101", _TORCHVISION, ("split",), takes="folder"),
        "pets": Format("torchvision's OxfordIIITPet", _TORCHVISION, ("split",), takes="folder"),
        "flowers": Format("torchvision's Flowers102", _TORCHVISION, ("split",), takes="folder"),
        "cars": Format("torchvision's StanfordCars", _TORCHVISION, ("split",), takes="folder"),
        "caltech101": Format("torchvision's Caltech101", _TORCHVISION, takes="folder"),
    }
)
ENTRY_POINTS = "efface.formats"
"""The group that third parties register a :class:`Format` in, under its prefix."""
MADE = "symbols"
"""The prefix of the embedded world, whose images are made and not read."""
CAPTIONED = "give parquet files with a column of captions or labels, a folder with metadata.csv, or class folders"
"""A hint at what a source of images with captions may be."""

_OPTIONS = re.compile(r"(?:,[a-z]+=[^,=]*)+$")


@dataclass(frozen=True, slots=True)
class Given:
    """A source, taken apart.

    Attributes:
        source: as the user gave it.
        prefix: a row of the table, or :data:`MADE`; empty for a path whose content has to tell.
        place: what stands between prefix and options.
        options: by name.
    """

    source: str
    prefix: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The place as a path, the user's home written out."""
        return path_of(self.place)


def prefixes() -> tuple[str, ...]:
    """The prefixes of all formats, those of installed plug-ins included; none of these is loaded for it."""
    return (*FORMATS, *(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in FORMATS))


def format_of(prefix: str) -> Format:
    """The format of a prefix, from the table or from an installed plug-in.

    Raises:
        InputError: If the plug-in cannot be loaded, or is no format.
    """
    if prefix in FORMATS:
        return FORMATS[prefix]
    (point, *_) = entry_points(group=ENTRY_POINTS, name=prefix)
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 (a module of others may raise anything)
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(loaded, Format):
            return loaded
        reason = f"it is a {type(loaded).__name__}, not an efface.data.formats.Format"
    raise InputError(f"the plug-in for {prefix}:, {point.value}, cannot be used: {reason}", hint="repair or remove it")


def parse(source: str, *, hint: str = "") -> Given:
    """Takes a source apart, and makes sure that it can be meant.

    Args:
        source: as the user gave it.
        hint: what would be right where a path leads nowhere; without one, what labelled images may be.

    Raises:
        InputError: If an option is unknown, a path leads nowhere or to a folder where a file is read (or the other way
            round), or the plug-in that is asked for is broken.
    """
    known = prefixes()
    prefix, colon, place = source.partition(":")
    if colon and prefix == MADE:
        return Given(source, prefix, place)
    if not colon or prefix not in known:
        prefix, place = "", source
    place, options = _with_options(place)
    given = Given(source, prefix, place, options)
    meant = format_of(prefix) if prefix else None
    taken = meant.options if meant else ("split",)
    for name in options:
        if name not in taken:
            raise InputError(f"{source!r} has no option {name!r}", hint=offer(name, taken))
    if meant is None or meant.on_disk:
        must_exist(given.path, hint=hint or wanted(known))
        _check_kind(given, meant.takes if meant else "either")
    return given


def check_source(source: str, *, hint: str = "") -> None:
    """Refuses what can be told by a look not to be images: an empty folder, a parquet file that is cut short.

    Args:
        source: as the user gave it.
        hint: what would be right; without one, what labelled images may be.

    Raises:
        InputError: If it is so, or as :func:`parse`.
    """
    given = parse(source, hint=hint)
    if given.prefix:
        return
    if given.path.is_dir() and not any(given.path.iterdir()):
        raise InputError(f"the folder {source!r} is empty", hint=hint or wanted(prefixes()))
    if given.path.suffix.lower() == ".parquet" and given.path.is_file():
        check_parquet(given.path)


def check_options(given: Given, taken: Collection[str], *, found: str) -> None:
    """Refuses options that what a path turned out to be does not have.

    Args:
        given: a path whose content had to tell.
        taken: the options that its format has.
        found: what it is, for people.

    Raises:
        InputError: If there is such an option.
    """
    for name, value in given.options.items():
        if name not in taken:
            raise InputError(
                f"{given.source!r} has no option {name!r}, as it is {found}",
                hint=f"leave out ,{name}={value}; of held-out images --eval-where COLUMN=VALUE takes some",
            )


def wanted(known: Iterable[str] = tuple(FORMATS)) -> str:
    """A hint at what a source may be."""
    return (
        "give a parquet file, a folder of parquet shards, a folder with one folder of images a class, "
        f"or one of {', '.join(f'{name}:' for name in (*known, MADE))}"
    )


def _check_kind(given: Given, taken: str) -> None:
    found = "folder" if given.path.is_dir() else "file"
    if taken not in (found, "either"):
        raise InputError(
            f"{str(given.path)!r} is a {found}, but {given.prefix}: reads a {taken}",
            hint=f"give a {taken}; or leave out {given.prefix}: and the content tells the format",
        )


def _with_options(place: str) -> tuple[str, dict[str, str]]:
    found = _OPTIONS.search(place)
    # A file may be called so.
    if found is None or os.path.exists(path_of(place)):
        return place, {}
    pairs = (pair.split("=") for pair in found[0][1:].split(","))
    return place[: found.start()], {name: value for name, value in pairs}
