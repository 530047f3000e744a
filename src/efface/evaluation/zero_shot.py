"""Zero-shot classification of held-out images, by the base, by the result, and by one tower of each.

One pass over the images serves all pairs of towers: an image is decoded once, and goes through each image tower once.
What is kept of an image is its rank and its nearest class under each pair, so memory does not grow with images beyond
a few bytes each.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from efface.data.holdout import EvalData
from efface.data.images import lost_workers_named
from efface.encoding import encode_classes, finite
from efface.errors import InputError
from efface.evaluation.base import Change, ClassScore, Metric, Pair, Score, Split, Towers
from efface.evaluation.detail import Detail, Gathering
from efface.fitting import Fitting
from efface.functional.metrics import mean_interval, mean_paired_change, paired_change, wilson_interval
from efface.request import TargetText
from efface.types import Checkpoint, ClassTokens, DualEncoder, Features, Images, Labels, Reporter, State, Unkept

TOP = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """Where the right class came in, for every image of one source.

    Attributes:
        data: the source as given.
        class_names: its label set.
        targets: the labels of the forgotten classes, those that the source has.
        labels: the right class of each image.
        ranks: under each pair of towers, how many classes came before the right one; 5 stands for 5 or more.
        detail: what the images were taken for, and what class texts find; None where only ranks are known.
        other_texts: texts that were asked for in the place of a class's own.
        other_labels: the class of each of them.
        by_other_text: under each pair, whether an image of the class of such a text has that text as the nearest one.
        kind: which images are of the kind that alone was to be forgotten of those classes; None where all are.
    """

    data: str
    class_names: tuple[str, ...]
    targets: tuple[int, ...]
    labels: Labels
    ranks: Mapping[Pair, Int[Tensor, " batch"]]
    detail: Detail | None = None
    other_texts: tuple[TargetText, ...] = ()
    other_labels: tuple[int, ...] = ()
    by_other_text: Mapping[Pair, Bool[Tensor, "batch texts"]] = field(default_factory=dict)
    kind: Bool[Tensor, " batch"] | None = None

    def splits(self) -> Iterator[tuple[Split, Bool[Tensor, " batch"]]]:
        """The images of each split that this source has images of."""
        yield from self._parts(torch.ones_like(self.labels, dtype=torch.bool)) if self.targets else ()
        yield "all", torch.ones_like(self.labels, dtype=torch.bool)

    def splits_of(self, label: int) -> Iterator[tuple[Split, Bool[Tensor, " batch"]]]:
        """The images of a class by the split that they are in: of a class of which one kind was to go there are two."""
        of_class = self.labels == label
        if self.targets:
            yield from self._parts(of_class)
        elif of_class.any():
            yield "all", of_class

    def to_forget(self, label: int) -> Bool[Tensor, " batch"]:
        """The images of a class that were to be forgotten, if the class is one of the targets."""
        of_class = self.labels == label
        return of_class if self.kind is None else of_class & self.kind

    def _parts(self, of: Bool[Tensor, " batch"]) -> Iterator[tuple[Split, Bool[Tensor, " batch"]]]:
        """Some of the images by their splits."""
        of_targets = torch.isin(self.labels, torch.tensor(self.targets))
        forget = of_targets if self.kind is None else of_targets & self.kind
        parts: tuple[tuple[Split, Bool[Tensor, " batch"]], ...] = (
            ("forget", forget),
            ("siblings", of_targets & ~forget),
            ("retain", ~of_targets),
        )
        yield from ((split, of & rows) for split, rows in parts if (of & rows).any())


@dataclass(frozen=True, slots=True)
class OtherTexts:
    """Texts to ask for in the place of a class's own.

    Attributes:
        texts: aliases and phrases.
        labels: of each, the class in whose place it stands.
        tokens: of each, as those of a class.
    """

    texts: tuple[TargetText, ...]
    labels: tuple[int, ...]
    tokens: ClassTokens


@torch.no_grad()
@lost_workers_named()
def answer(  # noqa: PLR0913 (keyword arguments say how)
    models: tuple[DualEncoder, DualEncoder | None],
    data: EvalData,
    class_tokens: ClassTokens,
    *,
    targets: tuple[int, ...],
    batch_size: int,
    reporter: Reporter,
    checkpoint: Checkpoint | None = None,
    fitting: Fitting | None = None,
    other: OtherTexts | None = None,
) -> Answers:
    """Asks base and edited model, and each tower of the one with the other of the other, about every image.

    Args:
        models: the base and the edited model; None for the latter to ask the base alone.
        data: held-out images.
        class_tokens: texts of the data's own classes.
        targets: the labels of the forgotten classes in this data; none for none.
        batch_size: images at a time.
        reporter: told of every image.
        checkpoint: told of what was found after every batch.
        fitting: how many images of a batch go through a tower at a time; by default all, and less where memory lacks.
        other: texts to ask for in the place of a class's own, beside it.

    Raises:
        InputError: If no image can be decoded.
        NotFiniteError: If a model puts out NaN or infinite features, whose nearest class would be any.
        EffaceError: If a process that decodes images is ended from outside.
    """
    base, edited = models
    encoders = {"base": base} if edited is None else {"base": base, "edited": edited}
    pairs: dict[Pair, tuple[str, str]] = {"before": ("base", "base")}
    if edited is not None:
        pairs |= {"both": ("edited", "edited"), "image": ("edited", "base"), "text": ("base", "edited")}
    fitting = fitting or Fitting(batch_size)
    classes = {name: encode_classes(model, class_tokens, fitting.limit) for name, model in encoders.items()}
    others = {n: encode_classes(m, other.tokens, fitting.limit) for n, m in encoders.items()} if other else {}
    gathering = Gathering(classes["base"], targets, base.pixels, len(data.images))
    tally = _Tally(len(data.images), pairs, gathering, other.labels if other else ())
    checkpoint = checkpoint or Unkept()
    data.skipped.reasons.clear()
    tally.load_(checkpoint.take(), data, fitting)
    with reporter.stage(f"evaluating on {Path(data.source).name}", len(data.images)) as advance:
        advance(tally.done)
        # After those that came and those that were left out, which is where a batch ended.
        for images, truth in data.images.batches(batch_size, first=tally.done + len(data.skipped.reasons)):
            features = {n: finite(fitting(partial(_encoded, m), images), "image") for n, m in encoders.items()}
            cosines = {pair: features[image] @ classes[text].T for pair, (image, text) in pairs.items()}
            tally.add(images, truth, cosines)
            if others:
                tally.add_others(cosines, {p: features[image] @ others[text].T for p, (image, text) in pairs.items()})
            advance(len(truth))
            checkpoint.offer(partial(tally.state, data, fitting.state()))
    if not tally.done:
        raise InputError(f"no image of {data.source!r} can be decoded", hint="look at one of them in an image viewer")
    detail = tally.gathering.detail(data.skipped.reasons)
    joined = {pair: r[: tally.done] for pair, r in tally.ranks.items()}
    by_other = {pair: right[: tally.done] for pair, right in tally.by_other_text.items()}
    kind = None if data.kind is None else data.kind.rows[detail.places]
    found = Answers(data.source, data.class_names, targets, tally.labels[: tally.done], joined, detail, kind=kind)
    return (
        found
        if other is None
        else replace(found, other_texts=other.texts, other_labels=other.labels, by_other_text=by_other)
    )


class _Tally:
    """What was found of the images that came."""

    def __init__(
        self, count: int, pairs: Collection[Pair], gathering: Gathering, other_labels: tuple[int, ...] = ()
    ) -> None:
        # Room for all beforehand: a small tensor kept from every batch would pin the heap between the large ones that
        # go, and memory would grow by a batch each time.
        self.labels = torch.empty(count, dtype=torch.int64)
        self.ranks = {pair: torch.empty_like(self.labels) for pair in pairs}
        self.other_labels = other_labels
        room = (count, len(other_labels))
        self.by_other_text = {pair: torch.zeros(room, dtype=torch.bool) for pair in pairs if other_labels}
        self.gathering = gathering
        self.done = 0

    def add(self, images: Images, truth: Labels, cosines: Mapping[Pair, Float[Tensor, "batch classes"]]) -> None:
        top = {pair: near.topk(min(TOP, near.shape[1]), dim=1).indices.cpu() for pair, near in cosines.items()}
        rows = slice(self.done, self.done + len(truth))
        for pair, found in top.items():
            self.ranks[pair][rows] = _rank(found, truth)
        self.gathering.add(images, cosines, {pair: found[:, 0] for pair, found in top.items()})
        self.labels[rows] = truth
        self.done += len(truth)

    def add_others(
        self,
        cosines: Mapping[Pair, Float[Tensor, "batch classes"]],
        others: Mapping[Pair, Float[Tensor, "batch texts"]],
    ) -> None:
        """Of the batch that was added last: whether each other text is the nearest in the place of its class's own."""
        for pair, near in others.items():
            batch = slice(self.done - len(near), self.done)
            for column, label in enumerate(self.other_labels):
                rows = (self.labels[batch] == label).nonzero()[:, 0]
                if len(rows):
                    asked = cosines[pair][rows.to(near.device)].clone()
                    asked[:, label] = near[rows.to(near.device), column]
                    nearest = asked.topk(1, dim=1).indices[:, 0].cpu()
                    self.by_other_text[pair][batch.start + rows, column] = nearest == label

    def state(self, data: EvalData, fitting: State) -> State:
        found = {"done": self.done, "labels": self.labels, "ranks": self.ranks, "gathering": self.gathering.state()}
        return found | {"by_other_text": self.by_other_text, "skipped": dict(data.skipped.reasons), "fitting": fitting}

    def load_(self, state: State | None, data: EvalData, fitting: Fitting) -> None:
        if state is not None:
            self.done, self.labels, self.ranks = state["done"], state["labels"], state["ranks"]
            self.by_other_text = state["by_other_text"]
            self.gathering.load_(state["gathering"])
            data.skipped.reasons.update(state["skipped"])
            fitting.load_(state["fitting"])


def _encoded(model: DualEncoder, images: Images) -> Features:
    return model.encode_image(images.to(model.device))


def scores(answers: Answers, pair: Pair) -> tuple[Score, ...]:
    """Top-1 and top-5 accuracy and mean per-class recall on each split, with 95 % intervals.

    Accuracies carry Wilson intervals, the mean recall one made of its classes' (see
    :func:`~efface.functional.metrics.mean_interval`). In a label set of five or fewer, top-5 is always 1 and left out.
    """
    found = []
    for split, rows in answers.splits():
        ranks, labels = answers.ranks[pair][rows], answers.labels[rows]
        n = len(ranks)
        measured: dict[Metric, tuple[float, float, float]] = {"acc1": share(ranks < 1)}
        if len(answers.class_names) > TOP:
            measured["acc5"] = share(ranks < TOP)
        present = torch.unique(labels).tolist()
        rights = [int((ranks[labels == label] < 1).sum()) for label in present]
        measured["mean_per_class_recall"] = mean_interval(rights, [int((labels == label).sum()) for label in present])
        for metric, (value, low, high) in measured.items():
            found.append(Score(answers.data, split, metric, towers_of(pair), value, n, low, high, split != "forget"))
    return tuple(found)


def class_scores(answers: Answers, pair: Pair) -> tuple[ClassScore, ...]:
    """Top-1 accuracy of each class that has images, in label order."""
    found = []
    for label, name in enumerate(answers.class_names):
        for split, rows in answers.splits_of(label):
            right = answers.ranks[pair][rows] < 1
            value, low, high = share(right)
            found.append(ClassScore(answers.data, name, split, towers_of(pair), value, len(right), low, high))
    return tuple(found)


def changes(answers: Answers, pair: Pair) -> tuple[Change, ...]:
    """How accuracies and mean recall changed from before on the same images, with paired intervals."""
    found = []
    for split, rows in answers.splits():
        labels, before, after = (t[rows] for t in (answers.labels, answers.ranks["before"], answers.ranks[pair]))
        measured: dict[Metric, tuple[float, float, float]] = {"acc1": paired_change(before < 1, after < 1)}
        if len(answers.class_names) > TOP:
            measured["acc5"] = paired_change(before < TOP, after < TOP)
        of_class = [labels == label for label in torch.unique(labels).tolist()]
        measured["mean_per_class_recall"] = mean_paired_change([(before[c] < 1, after[c] < 1) for c in of_class])
        for metric, (value, low, high) in measured.items():
            found.append(Change(answers.data, split, metric, towers_of(pair), value, len(before), low, high))
    return tuple(found)


def _rank(top: Int[Tensor, "batch k"], truth: Labels) -> Int[Tensor, " batch"]:
    hit = top == truth[:, None]
    return torch.where(hit.any(dim=1), hit.int().argmax(dim=1), TOP)


def share(right: Bool[Tensor, " n"]) -> tuple[float, float, float]:
    """The share of the right ones, with its Wilson interval; of at least one."""
    count, n = int(right.sum()), len(right)
    return count / n, *wilson_interval(count, n)


def towers_of(pair: Pair) -> Towers:
    """What a score says of the towers; whether they are the base's, its place in the record says."""
    return "both" if pair == "before" else pair
