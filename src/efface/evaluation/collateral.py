"""What forgetting did class by class, to the lookup of images by text, and what the forgotten class is taken for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from efface.evaluation.base import Change, Metric, Pair, Score, Split
from efface.evaluation.retrieval import recalls
from efface.evaluation.zero_shot import Answers, share, towers_of
from efface.functional.metrics import paired_change
from efface.records.fields import Count, Difference, Positive


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Top-1 accuracy on the images of one class, after less before, with a 95 % interval that knows of the pairs.

    Attributes:
        data: the source as given.
        name: the class.
        value: in [-1, 1], with both towers edited.
        n: images.
        low: lower end of the interval.
        high: upper end.
        text_distance: one less the cosine of the class's text and the forgotten one's, in the base, in [0, 2]; of
            several the nearest one's; None where no class was forgotten.
    """

    data: str
    name: str
    split: Split
    value: Difference
    n: Positive
    low: Difference
    high: Difference
    text_distance: Annotated[float, Field(ge=0, le=2)] | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many images of one class were taken for one class; one of the two is a forgotten class.

    Of a forgotten class those images count that were to be forgotten.

    Attributes:
        data: the source as given.
        name: the class that the images are of.
        called: the class that they were taken for.
        before: how many, by the base's towers.
        after: how many, by the edited towers.
        n: images of ``name``.
    """

    data: str
    name: str
    called: str
    before: Count
    after: Count
    n: Positive


def class_changes(answers: Answers, target_texts: Float[Tensor, "targets dim"] | None) -> Iterator[ClassChange]:
    """The change of every class that has images, in label order.

    Args:
        answers: of the base and the edited model.
        target_texts: the forgotten classes' texts in the base, of unit length; None where no class was forgotten.
    """
    distances = None
    if target_texts is not None and answers.detail is not None:
        texts = answers.detail.texts
        cosines = torch.stack([texts @ target_text for target_text in target_texts.cpu()]).amax(dim=0)
        distances = (1 - cosines).clamp(0, 2).tolist()
    for label, name in enumerate(answers.class_names):
        distance = None if distances is None else distances[label]
        for split, rows in answers.splits_of(label):
            value, low, high = paired_change(answers.ranks["before"][rows] < 1, answers.ranks["both"][rows] < 1)
            yield ClassChange(answers.data, name, split, value, int(rows.sum()), low, high, distance)


def confusions(answers: Answers) -> Iterator[Confusion]:
    """What images of each forgotten class were taken for, and what was taken for it.

    Those of the forgotten classes come first, then the most frequent after the edit; what never occurred is left out.
    """
    targets, detail = answers.targets, answers.detail
    if detail is None:
        return
    asked = {
        pair
        for target in targets
        for label in range(len(answers.class_names))
        for pair in ((target, label), (label, target))
    }
    found = []
    for truth, called in asked:
        of_truth = answers.to_forget(truth) if truth in targets else answers.labels == truth
        before, after = (_taken(detail.called[pair], of_truth, called) for pair in ("before", "both"))
        if before or after:
            found.append((truth, called, before, after, int(of_truth.sum())))
    found.sort(key=lambda c: (targets.index(c[0]) if c[0] in targets else len(targets), -c[3], -c[2], c[0], c[1]))
    names = answers.class_names
    for truth, called, before, after, n in found:
        yield Confusion(answers.data, names[truth], names[called], before, after, n)


def retrieval_scores(answers: Answers, pair: Pair) -> tuple[Score, ...]:
    """How many class texts find an image of their class among the first 1, 5 and 10, with Wilson intervals.

    A forgotten class is left out: one text has no interval worth the name. Its finds are shown instead.
    """
    split: Split = "retain" if answers.targets else "all"
    return tuple(
        Score(answers.data, split, metric, towers_of(pair), value, len(found), low, high, True)
        for metric, found in _found(answers, pair)
        for value, low, high in (share(found),)
    )


def retrieval_changes(answers: Answers, pair: Pair) -> tuple[Change, ...]:
    """How that changed from before on the same texts, with paired intervals."""
    split: Split = "retain" if answers.targets else "all"
    return tuple(
        Change(answers.data, split, metric, towers_of(pair), value, len(after), low, high)
        for (metric, before), (_, after) in zip(_found(answers, "before"), _found(answers, pair), strict=True)
        for value, low, high in (paired_change(before, after),)
    )


def _found(answers: Answers, pair: Pair) -> Iterator[tuple[Metric, Bool[Tensor, " queries"]]]:
    """For each depth, whether each class but the forgotten ones that has images finds one of them."""
    if answers.detail is None:
        return
    asked = torch.zeros(len(answers.class_names), dtype=torch.bool)
    asked[answers.labels] = True
    asked[list(answers.targets)] = False
    if asked.any():
        for metric, found in recalls(answers.detail.nearest[pair], answers.labels):
            yield metric, found[asked]


def _taken(called: Tensor, rows: Bool[Tensor, " batch"], label: int) -> int:
    return int(torch.count_nonzero(called[rows] == label))
