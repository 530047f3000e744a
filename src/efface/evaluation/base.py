"""What an evaluation hands out: numbers that explain themselves."""

from dataclasses import dataclass
from typing import Literal

from efface.records.fields import Difference, Positive, Share

Split = Literal["forget", "siblings", "retain", "all"]
"""*forget*: images of the forgotten class, or of the kind of it that was to be forgotten; *siblings*: in that case the
other images of the class; *retain*: images of other classes in the same data; *all*: every image of it."""
Metric = Literal[
    "acc1",
    "acc5",
    "mean_per_class_recall",
    "image_retrieval_recall@1",
    "image_retrieval_recall@5",
    "image_retrieval_recall@10",
]
Towers = Literal["both", "image", "text"]
"""Which towers are the edited ones; the other is the original's."""
Pair = Literal["before", "both", "image", "text"]
"""Which towers answered: the base's own (*before*), or the edited ones that :data:`Towers` names."""


@dataclass(frozen=True, slots=True)
class Score:
    """A fraction in [0, 1], with a 95 % interval.

    Attributes:
        data: the source as given.
        metric: ``acc1``, ``acc5``: the share of the images whose class is the nearest of all class texts, or among the
            nearest five. ``mean_per_class_recall``: the mean of the classes' ``acc1``. ``image_retrieval_recall@k``:
            the share of the class texts that have an image of their class among the ``k`` nearest of all images of the
            source, one being enough; the forgotten class's text is not asked, its images are among those to be found.
        value: the fraction.
        n: images that it was measured on; for image retrieval the class texts that were looked up.
        low: lower end of the interval.
        high: upper end.
        higher_is_better: False where the aim is to bring it down.
    """

    data: str
    split: Split
    metric: Metric
    towers: Towers
    value: Share
    n: Positive
    low: Share
    high: Share
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Top-1 accuracy on the images of one class, with a 95 % Wilson interval.

    A class of which one kind was to be forgotten has two: of those images, and of its others.
    """

    data: str
    name: str
    split: Split
    towers: Towers
    value: Share
    n: Positive
    low: Share
    high: Share


@dataclass(frozen=True, slots=True)
class Change:
    """After less before, on the same images, with a 95 % interval that knows of the pairs.

    Attributes:
        value: in [-1, 1].
        n: images, or class texts, as for a :class:`Score`.
        low: lower end of the interval.
        high: upper end.
    """

    data: str
    split: Split
    metric: Metric
    towers: Towers
    value: Difference
    n: Positive
    low: Difference
    high: Difference
