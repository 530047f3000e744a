"""What a request can give beside names and images of what is to be forgotten. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from efface.errors import InputError

Given = Literal["retain", "calibration", "pool"]
"""What other images are given for: to stay; to choose a setting by; any, without labels."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What of a class is to be forgotten, and where the images of what is to stay come from.

    Attributes:
        where: of the classes only images that are so are to be forgotten, a value for some of a source's columns; empty
            for all of them.
        retain: a source of images of what is to stay; None for none.
        calibration: a source of images that a method chooses its settings by and is not trained on; None for none.
        pool: a source of any images, whose labels, if it has some, are not looked at; None for none.
        hierarchy: the group of a class, by class: classes of a group are siblings; empty where the nearest texts are.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    retain: str | None = None
    calibration: str | None = None
    pool: str | None = None
    hierarchy: Mapping[str, str] = field(default_factory=dict)

    def check(self, images: str | None) -> None:
        """Refuses a kind of which no image is given: what a class's name leads to is no kind of it.

        Args:
            images: a source of images of what is to be forgotten; None for none.

        Raises:
            InputError: If it is so.
        """
        if self.where and images is None:
            raise InputError(
                f"images of one kind are to be forgotten, {dict(self.where)!r}, and none are given",
                hint="give some with --images; to choose among held-out images write --eval-where",
            )

    @property
    def sources(self) -> dict[Given, str]:
        """The sources that are given, by what for."""
        named: dict[Given, str | None] = {
            "retain": self.retain,
            "calibration": self.calibration,
            "pool": self.pool,
        }
        return {what: source for what, source in named.items() if source is not None}
