"""What was found among the images that were given to work on, and how it is said."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from efface.errors import EffaceWarning, InputError, counted
from efface.records.fields import Amount, Count, Finite
from efface.request import in_words
from efface.sifting import NearDuplicates, Sifting

Part = Literal["forget", "calibration_forget", "retain", "calibration", "pool"]
"""Images that a method is handed, as :class:`~efface.types.ForgetData` calls them: of two near duplicates the one that
stands here first is kept."""
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Outlier:
    """An image to forget that looks like none of the others of its class.

    Attributes:
        image: what it is called.
        name: of its class.
        deviation: how far it lies from its nearest neighbors against what is usual, in standard deviations.
        limit: what that stays below for all images of 99 of 100 classes without a strange one.
        dropped: whether it was left out.
    """

    image: str
    name: str
    deviation: Finite
    limit: Amount
    dropped: bool

    @property
    def words(self) -> str:
        """What there is to say of it."""
        return f"{self.image}: {self.deviation:.1f} standard deviations from the usual, the limit is {self.limit:.1f}"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An image given to work on that is nearly the same picture as another.

    Attributes:
        image: what it is called.
        part: what it was given for.
        other: what the other is called, the nearest where there are several.
        of: what the other was given for, or the source of held-out images that it is of.
        exact: whether all pixels are equal, as the model takes them.
        signs: in which their hashes differ, of 63.
        cosine: of their features in the base.
        dropped: whether it was left out; the other never is.
    """

    image: str
    part: Part
    other: str
    of: str
    exact: bool
    signs: Count
    cosine: Finite
    dropped: bool

    @property
    def words(self) -> str:
        """Which two show the same."""
        return f"{self.image} shows the picture of {self.other}"


@dataclass(frozen=True, slots=True)
class Sifted:
    """What was found among images that were given to work on.

    Attributes:
        near_duplicates: what was asked to be done where held-out images are near duplicates of them.
        drop_outliers: whether outliers were to be left out.
        compared: how many images were looked at, of each part.
        outliers: images to forget that look like none of their class.
        duplicates: images that are nearly the same picture as another.
    """

    near_duplicates: NearDuplicates = "refuse"
    drop_outliers: bool = False
    compared: Mapping[str, Count] = field(default_factory=dict)
    outliers: tuple[Outlier, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()


class LeakError(InputError):
    """Images to be judged on are near duplicates of what was to be worked on.

    Attributes:
        duplicates: all that were found.
    """

    duplicates: tuple[Duplicate, ...] = ()


def words_on_outliers(strange: Sequence[Outlier]) -> Iterator[str]:
    """What there is to say of images that look like none of their class."""
    if strange:
        done = "left out" if strange[0].dropped else "look at them; to leave them out ask for it (drop_outliers)"
        yield (
            f"{counted(len(strange), 'image')} to forget may be of something else, and look like none of the others: "
            f"{in_words([one.image for one in strange])}; {done}"
        )


def words_on_duplicates(found: Sequence[Duplicate]) -> Iterator[str]:
    """What there is to say of images to stay or to calibrate by that are near duplicates of others."""
    if found:
        done = "left out" if found[0].dropped else "kept all the same"
        yield f"{_pictures(found)} to stay or to calibrate by: {done}"


def refuse_or_say(leaks: Sequence[Duplicate], how: Sifting) -> None:
    """Refuses near duplicates of held-out images, or says what was done with them.

    Raises:
        LeakError: It counts them, and names the first.
    """
    if not leaks:
        return
    sources = in_words([repr(source) for source in dict.fromkeys(one.of for one in leaks)])
    text = f"{_pictures(leaks)} to be judged on in {sources}"
    if how.near_duplicates != "refuse":
        done = "left out of what is worked on" if leaks[0].dropped else "kept, so that figures may flatter"
        warnings.warn(f"{text}: {done}", EffaceWarning, stacklevel=5)
        return
    error = LeakError(
        text,
        hint="what a method has seen cannot judge it: take them out of one of the two; or --near-duplicates drop "
        "leaves them out of what is worked on, and the record lists them all",
    )
    error.duplicates = tuple(leaks)
    raise error


def _pictures(found: Sequence[Duplicate]) -> str:
    """How many there are, and the first three of them."""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{counted(len(found), 'near duplicate')} ({'; '.join(one.words for one in found[:3])}{more})"
