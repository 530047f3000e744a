"""What several scores come to in one number, as publications print it; never without the scores themselves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from efface.evaluation.base import Score, Split
from efface.functional.metrics import h_mean, subgroup_score, untouched_score
from efface.records.fields import Difference, Finite, Share


@dataclass(frozen=True, slots=True)
class Kept:
    """Images that were to stay, whose accuracy counts in a :class:`Summary`: a split of a source."""

    data: str
    split: Split


@dataclass(frozen=True, slots=True)
class Summary:
    """What top-1 accuracy with both towers edited comes to; no number of it can be judged without the accuracies.

    Attributes:
        data: the source of the images of what was forgotten.
        score: the Score of Zhang et al. (CVPR 2025): the mean over the share of the accuracy on these that is gone, and
            the share that is left of each accuracy in ``kept``, a gain counting as all. 1 is the best.
        untouched: what a model that was left as it was scores.
        kept: what was to stay: siblings, if they are apart, and the other classes of this source; of any other source
            likewise, or all its images where none are of what was forgotten. Those of which the base answers none are
            left out.
        h_mean: the harmonic mean of the share of wrong answers on what was forgotten and that of right ones on the
            other classes of the source; None where there are none.
        sibling_drop: by how much the accuracy on siblings fell; None where none are apart.
        gold_distance: how far the accuracies on what was forgotten and on ``kept`` are from those of a model that was
            trained without it, in the mean; None without such a model.
    """

    data: str
    score: Finite
    untouched: Share
    kept: tuple[Kept, ...]
    h_mean: Share | None
    sibling_drop: Difference | None
    gold_distance: Share | None


def summaries(before: Iterable[Score], after: Iterable[Score], gold: Iterable[Score] = ()) -> tuple[Summary, ...]:
    """What the scores of a base and of its result come to, for each source with images of what was forgotten.

    Those of a gold model, which was trained without what was forgotten, may stand beside. None is given where the base
    answered none of those images, or there is nothing to compare.
    """
    pairs, aim = _pairs(before, after), _accuracies(gold)
    found = []
    for (data, split), forget in pairs.items():
        if split != "forget" or not forget[0]:
            continue
        kept = {key: pair for key, pair in _kept(pairs, data) if pair[0]}
        apart = [abs(pair[1] - aim[key]) for key, pair in {(data, split): forget, **kept}.items() if key in aim]
        retain, siblings = pairs.get((data, "retain")), pairs.get((data, "siblings"))
        found.append(
            Summary(
                data=data,
                score=subgroup_score(forget, list(kept.values())),
                untouched=untouched_score(len(kept)),
                kept=tuple(Kept(*key) for key in kept),
                h_mean=None if retain is None else h_mean(forget[1], retain[1]),
                sibling_drop=None if siblings is None else siblings[0] - siblings[1],
                gold_distance=sum(apart) / len(apart) if apart else None,
            )
        )
    return tuple(found)


Key = tuple[str, Split]


def _pairs(before: Iterable[Score], after: Iterable[Score]) -> dict[Key, tuple[float, float]]:
    """Top-1 accuracy before and after with both towers, by data and split."""
    first, last = _accuracies(before), _accuracies(after)
    return {key: (value, last[key]) for key, value in first.items() if key in last}


def _accuracies(scores: Iterable[Score]) -> dict[Key, float]:
    return {(s.data, s.split): s.value for s in scores if (s.metric, s.towers) == ("acc1", "both")}


def _kept(pairs: dict[Key, tuple[float, float]], data: str) -> Iterator[tuple[Key, tuple[float, float]]]:
    """What was to stay, the source of the forgotten images first."""
    for source in dict.fromkeys((data, *(of for of, _ in pairs))):
        splits: tuple[Split, ...] = ("siblings", "retain") if (source, "forget") in pairs else ("all",)
        for split in splits:
            if (source, split) in pairs:
                yield (source, split), pairs[source, split]
