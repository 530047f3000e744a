"""What an evaluation hands out: numbers that explain themselves."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["forget", "retain", "all"]
"""*forget*: images of the forgotten class; *retain*: the other images of the same data; *all*: every image of it."""
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
    value: float
    n: int
    low: float
    high: float
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Top-1 accuracy on the images of one class, with a 95 % Wilson interval."""

    data: str
    name: str
    split: Split
    towers: Towers
    value: float
    n: int
    low: float
    high: float


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
    value: float
    n: int
    low: float
    high: float
