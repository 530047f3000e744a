"""What a record says of the images of a run: those that judged it, and those that the method was handed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from efface.evaluation.base import Split
from efface.records.fields import Count, Digest, Positive


@dataclass(frozen=True, slots=True)
class DataUsed:
    """A source of held-out images, as it was found.

    Attributes:
        source: as the user gave it.
        sha256: of its files' bytes.
        n: images that were measured on.
        classes: class names.
        manifest: sha256 of the canonical JSON of ``{"class_names": [...], "labels": [...]}``: which class every image
            was held to be of, those that were left out included.
        where: what its images were chosen by, a value a column.
        skipped: of each image that could not be decoded and was left out, its name and the reason.
        lost: splits of which none of the images could be decoded, so that they are not measured.
        forget_where: what the images were told by that alone were to be forgotten of a class, a value a column; empty
            where all of its images were.
    """

    source: str
    sha256: Digest
    n: Positive
    classes: Positive
    manifest: Digest
    where: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    lost: tuple[Split, ...] = ()
    forget_where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handed:
    """Images that the method was handed beside those of what was to be forgotten.

    Attributes:
        role: what for: ``retain`` is to stay; by ``calibration`` of that, and ``calibration_forget`` of what was to be
            forgotten, settings are chosen and nothing is trained; of a ``pool`` statistics are taken.
        source: as the user gave it.
        sha256: of its files' bytes.
        how: how they were chosen.
        used: of each class, how many; of a pool, as the model itself named them, or nothing.
        drawn: sha256 of these, as model input, with the texts that they were images of.
        skipped: of each image of the source that could not be decoded and was left out, its name and the reason.
        note: what there is to say of them; empty for nothing.
    """

    role: Literal["retain", "calibration", "calibration_forget", "pool"]
    source: str
    sha256: Digest
    how: str
    used: Mapping[str, Count]
    drawn: Digest
    skipped: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class OwnImages:
    """The user's own images of what was to be forgotten, which the method worked on in place of synthetic ones.

    Attributes:
        source: as the user gave it.
        sha256: of its files' bytes.
        found: of each class, how many images the source has.
        used: of each class, how many of them the method was handed: a draw by the run's seed where it asked for fewer.
        drawn: sha256 of these, as model input, with the texts that they were images of.
        skipped: of each image that could not be decoded and was left out, its name and the reason.
        note: what there is to say of their number; empty for nothing.
    """

    source: str
    sha256: Digest
    found: Mapping[str, Count]
    used: Mapping[str, Count]
    drawn: Digest
    skipped: tuple[str, ...]
    note: str
