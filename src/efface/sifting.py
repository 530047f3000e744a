"""What is to be left out of the images that a user gives to work on. Needs no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from efface.errors import InputError, check_known

NearDuplicates = Literal["refuse", "drop", "allow"]
"""What to do where an image that judges is nearly the same picture as one that a method works on."""


@dataclass(frozen=True, slots=True)
class Sifting:
    """What is to be left out of the user's own images.

    Attributes:
        near_duplicates: ``refuse`` to work on near duplicates of held-out images, ``drop`` them, or ``allow`` them.
            Images to stay or to calibrate by that are near duplicates of others are dropped, too; ``allow`` keeps all.
        drop_outliers: whether to leave out images to forget that look like none of their class.
    """

    near_duplicates: NearDuplicates = "refuse"
    drop_outliers: bool = False

    def __post_init__(self) -> None:
        check_known(self.near_duplicates, get_args(NearDuplicates), "way with near duplicates called")

    def check(self, images: str | None) -> None:
        """Refuses to leave out what there is not.

        Raises:
            InputError: If outliers are to be left out, and no images are given.
        """
        if self.drop_outliers and images is None:
            raise InputError("there are no images of yours to leave outliers out of", hint="give some, with --images")
