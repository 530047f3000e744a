"""Whether other texts than its name still find a forgotten class: an alias or a phrase in the place of the class's own.

They are no answers beside the class: each image of the class is asked about once more for each of them, with that text
as its class's and every other class with its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from efface.evaluation.base import Pair, Towers
from efface.evaluation.zero_shot import Answers, share, towers_of
from efface.functional.metrics import paired_change
from efface.records.fields import Difference, Positive, Share

Kind = Literal["alias", "phrase"]


@dataclass(frozen=True, slots=True)
class TextScore:
    """Top-1 accuracy on the images of a forgotten class when another text stands in its place, with a Wilson interval.

    Attributes:
        data: the source as given.
        name: the class that the images are of.
        text: what stood in the place of its name.
        kind: ``alias``: another name, put where a class name goes; ``phrase``: a text that was used as it is.
        value: the share of the images to which that text is nearer than any other class's, in [0, 1].
        n: images of the class.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    data: str
    name: str
    text: str
    kind: Kind
    towers: Towers
    value: Share
    n: Positive
    low: Share
    high: Share


@dataclass(frozen=True, slots=True)
class TextChange:
    """After less before of a :class:`TextScore`, on the same images, with a 95 % interval that knows of the pairs.

    Attributes:
        data: the source as given.
        name: the class that the images are of.
        text: what stood in the place of its name.
        kind: as for the score.
        value: in [-1, 1].
        n: images of the class.
        low: lower end of the interval.
        high: upper end.
    """

    data: str
    name: str
    text: str
    kind: Kind
    towers: Towers
    value: Difference
    n: Positive
    low: Difference
    high: Difference


def text_scores(answers: Answers, pair: Pair) -> Iterator[TextScore]:
    """How often each other text was the nearest to an image of its class, where there are such images."""
    for name, text, kind, column, rows in _asked(answers):
        right = answers.by_other_text[pair][rows, column]
        value, low, high = share(right)
        yield TextScore(answers.data, name, text, kind, towers_of(pair), value, len(right), low, high)


def text_changes(answers: Answers, pair: Pair) -> Iterator[TextChange]:
    """How that changed from before, with paired intervals."""
    for name, text, kind, column, rows in _asked(answers):
        before, after = (answers.by_other_text[p][rows, column] for p in ("before", pair))
        value, low, high = paired_change(before, after)
        yield TextChange(answers.data, name, text, kind, towers_of(pair), value, len(after), low, high)


def _asked(answers: Answers) -> Iterator[tuple[str, str, Kind, int, Bool[Tensor, " batch"]]]:
    """Of each other text its class, itself, its kind, its column, and the images of the class that were to go."""
    for column, (text, label) in enumerate(zip(answers.other_texts, answers.other_labels, strict=True)):
        rows = answers.to_forget(label)
        if text.kind != "class" and rows.any():
            yield text.name, text.text, text.kind, column, rows
