"""Whether the rest of a record agrees with its scores: sources, target, confusion, finds and weights."""

from collections import Counter
from collections.abc import Iterator, Mapping

from efface.evaluation.base import ClassScore
from efface.evaluation.collateral import Confusion
from efface.report.record import DataUsed, Record
from efface.verifying.consistency import both_times, repeated, right_ones


def contradictions(record: Record) -> Iterator[str]:
    """What cannot be, in words.

    Every figure must be of a source that the record names, and of all of its images; the *forget* split must be of the
    target; what was taken for what must add up to the images of the class and to its score; the tensors that changed
    must be those whose digests differ.
    """
    if record.target not in record.among:
        yield f"the target {record.target!r} is not among the class names of the request"
    if record.reached != record.trace.reached:
        yield f"reached is {record.reached}, its trace says {record.trace.reached}"
    yield from _sources(record)
    yield from _splits(record)
    yield from _confusion(record)
    finds = ((one.data, one.when, one.rank) for one in record.retrieved)
    yield from (
        f"{data} {when}: rank {rank} of what the text finds stands twice" for data, when, rank in repeated(finds)
    )
    yield from _weights(record)


def _sources(record: Record) -> Iterator[str]:
    known = [used.source for used in record.data]
    yield from (f"the source {name!r} stands twice" for name in repeated(known))
    for name in dict.fromkeys(_named(record)):
        if name not in known:
            yield f"{name!r} has figures, and is none of the data of the record"
    for used in record.data:
        yield from _whole(record, used)


def _named(record: Record) -> Iterator[str]:
    """The source of every figure."""
    scores, classes = record.scores, record.classes
    yield from (score.data for score in (*scores.before, *scores.after))
    yield from (score.data for score in (*classes.before, *classes.after))
    yield from (change.data for change in record.changes)
    yield from (change.data for change in classes.changes)
    yield from (found.data for found in record.confusion)
    yield from (found.data for found in record.retrieved)


def _whole(record: Record, used: DataUsed) -> Iterator[str]:
    """What the figures of a source have against its number of images and classes."""
    for when, scores, of_classes in both_times(record):
        if when == "after" and record.weights.result is None:
            continue
        of = [c for c in of_classes if c.data == used.source]
        splits = {score.split for score in scores if score.data == used.source and score.metric == "acc1"}
        n = sum(c.n for c in of)
        if n != used.n:
            yield f"{used.source} {when}: {used.n} images were measured on, its classes have {n}"
        if len(of) > used.classes:
            yield f"{used.source} {when}: has {used.classes} classes, of which {len(of)} were measured"
        there = {"all", *(c.split for c in of)}
        if splits != there:
            yield f"{used.source} {when}: scores of {sorted(splits)}, classes of {sorted(there)}"
        for split in there.intersection(used.lost):
            yield f"{used.source} {when}: the split {split} has figures, and is said to be lost"


def _splits(record: Record) -> Iterator[str]:
    for when, _, of_classes in both_times(record):
        for one in of_classes:
            if (one.split == "forget") != (one.name == record.target):
                yield f"{one.data} {one.name} {when}: stands under {one.split}, the target is {record.target!r}"
            if one.towers != "both":
                yield f"{one.data} {one.name} {when}: stands under the towers {one.towers}"


def _confusion(record: Record) -> Iterator[str]:
    of_names = Counter((c.data, c.name) for c in record.classes.before)
    yield from _listed(record, of_names)
    if record.weights.result is None:
        return
    for when, _, of_classes in both_times(record):
        yield from (found for one in of_classes if one.split == "forget" for found in _taken_for(record, one, when))
        measured = {(c.data, c.name): c for c in of_classes if of_names[c.data, c.name] == 1}
        for found in record.confusion:
            score = measured.get((found.data, found.name))
            yield from () if score is None else _mistaken(found, score, record.target, when)


def _listed(record: Record, of_names: Mapping[tuple[str, str], int]) -> Iterator[str]:
    for data, name, called in repeated((c.data, c.name, c.called) for c in record.confusion):
        if max(of_names[data, name], of_names[data, called]) < 2:  # two classes may have one name
            yield f"{data}: {name} taken for {called} stands twice"
    for found in record.confusion:
        if record.target not in (found.name, found.called):
            yield f"{found.data}: {found.name} taken for {found.called} is not about {record.target}"
        elif not of_names[found.data, found.name]:
            yield f"{found.data}: {found.name} taken for {found.called}, a class that has no score"


def _count(found: Confusion, when: str) -> int:
    return found.before if when == "before" else found.after


def _taken_for(record: Record, forgotten: ClassScore, when: str) -> Iterator[str]:
    """All images of the forgotten class were taken for something, and those that were right for the class itself."""
    of = [c for c in record.confusion if (c.data, c.name) == (forgotten.data, forgotten.name)]
    total = sum(_count(c, when) for c in of)
    own, right = sum(_count(c, when) for c in of if c.called == c.name), right_ones(forgotten)
    if total != forgotten.n:
        yield f"{forgotten.data} {when}: {total} of {forgotten.n} images of {forgotten.name} were taken for a class"
    if own != right:
        yield f"{forgotten.data} {when}: {own} images of {forgotten.name} were taken for it, but {right} were right"


def _mistaken(found: Confusion, score: ClassScore, target: str, when: str) -> Iterator[str]:
    """No more images of another class can have been taken for the forgotten one than were wrong."""
    count, most = _count(found, when), score.n if found.name == target else score.n - right_ones(score)
    if found.n != score.n or count > most:
        told = f"{found.data} {when}: {count} of {found.n} images of {found.name} taken for {found.called}"
        yield f"{told}, but at most {most} of {score.n} can be"


def _weights(record: Record) -> Iterator[str]:
    weights = record.weights
    yield from (f"the tensor {name} stands twice" for name in repeated(t.name for t in weights.tensors))
    if weights.result is None:
        of_result = (*weights.changed, *record.scores.after, *record.classes.after, *record.changes, *record.confusion)
        if of_result or any(t.result is not None for t in weights.tensors):
            yield "no model was made, and there are figures of one"
        return
    differ = sorted(t.name for t in weights.tensors if t.base != t.result)
    if sorted(weights.changed) != differ:
        yield f"{len(weights.changed)} tensors are said to have changed, the digests of {len(differ)} differ"
    if (weights.base == weights.result) != (not differ):
        yield "the digests of all weights and those of the tensors do not say the same of whether any changed"
    for tensor in weights.tensors:
        if tensor.base == tensor.result and (tensor.relative_change or tensor.largest_change):
            yield f"the tensor {tensor.name} is said to have moved, its digests are the same"
