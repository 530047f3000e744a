"""Whether the rest of a record agrees with its scores: sources, target, confusion, finds and weights."""

from collections import Counter
from collections.abc import Iterator, Mapping

from efface.evaluation.base import ClassScore
from efface.evaluation.collateral import Confusion
from efface.evaluation.summary import summaries
from efface.report.record import DataUsed, Record
from efface.request import texts_of
from efface.verifying.consistency import ROUNDING, both_times, repeated, right_ones


def contradictions(record: Record) -> Iterator[str]:
    """What cannot be, in words.

    Every figure must be of a source that the record names, and of all of its images; the *forget* split must be of the
    target; what was taken for what must add up to the images of the class and to its score; the tensors that changed
    must be those whose digests differ.
    """
    if record.target != record.names[0]:
        yield f"the target is {record.target!r}, the first of the targets {record.names[0]!r}"
    for name in record.names:
        if name not in record.among:
            yield f"the target {name!r} is not among the class names of the request"
    for name in sorted({*record.aliases, *record.phrases} - {*record.names}):
        yield f"there are aliases or phrases of {name!r}, which is no target"
    if record.reached != record.trace.reached:
        yield f"reached is {record.reached}, its trace says {record.trace.reached}"
    yield from _sources(record)
    yield from _splits(record)
    yield from _confusion(record)
    yield from _other_texts(record)
    yield from _summaries(record)
    finds = ((one.data, one.asked, one.when, one.rank) for one in record.retrieved)
    yield from (
        f"{data} {when}: rank {rank} of what the text of {asked} finds stands twice"
        for data, asked, when, rank in repeated(finds)
    )
    yield from _weights(record)


def _summaries(record: Record) -> Iterator[str]:
    told, found = record.summaries, summaries(record.scores.before, record.scores.after)
    if [(one.data, one.kept) for one in told] != [(one.data, one.kept) for one in found]:
        yield "what the scores come to is not told for what there are scores of"
        return
    for one, other in zip(told, found, strict=True):
        for name in ("score", "untouched", "h_mean", "sibling_drop"):
            value, wanted = getattr(one, name), getattr(other, name)
            if value != wanted and (None in (value, wanted) or abs(value - wanted) > ROUNDING):
                yield f"{name} on {one.data!r} is {value!r}, from the scores follows {wanted!r}"


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
    texts = record.other_texts
    yield from (score.data for score in (*texts.before, *texts.after))
    yield from (change.data for change in texts.changes)


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
        classes = len([c for c in of if c.split != "siblings"])
        if classes > used.classes:
            yield f"{used.source} {when}: has {used.classes} classes, of which {classes} were measured"
        there = {"all", *(c.split for c in of)}
        if splits != there:
            yield f"{used.source} {when}: scores of {sorted(splits)}, classes of {sorted(there)}"
        for split in there.intersection(used.lost):
            yield f"{used.source} {when}: the split {split} has figures, and is said to be lost"


def _splits(record: Record) -> Iterator[str]:
    of_kinds = {used.source for used in record.data if used.forget_where}
    for when, _, of_classes in both_times(record):
        for one in of_classes:
            if (one.split in ("forget", "siblings")) != (one.name in record.names):
                yield f"{one.data} {one.name} {when}: stands under {one.split}, the target is {record.label!r}"
            elif one.split == "siblings" and one.data not in of_kinds:
                yield f"{one.data} {one.name} {when}: stands under siblings, and all images of it were to be forgotten"
            if one.towers != "both":
                yield f"{one.data} {one.name} {when}: stands under the towers {one.towers}"


def _confusion(record: Record) -> Iterator[str]:
    of_names = Counter((c.data, c.name) for c in record.classes.before if c.split != "siblings")
    yield from _listed(record, of_names)
    if record.weights.result is None:
        return
    for when, _, of_classes in both_times(record):
        yield from (found for one in of_classes if one.split == "forget" for found in _taken_for(record, one, when))
        of = [c for c in of_classes if c.split != "siblings"]
        measured = {(c.data, c.name): c for c in of if of_names[c.data, c.name] == 1}
        for found in record.confusion:
            score = measured.get((found.data, found.name))
            yield from () if score is None else _mistaken(found, score, record.names, when)


def _listed(record: Record, of_names: Mapping[tuple[str, str], int]) -> Iterator[str]:
    for data, name, called in repeated((c.data, c.name, c.called) for c in record.confusion):
        if max(of_names[data, name], of_names[data, called]) < 2:  # two classes may have one name
            yield f"{data}: {name} taken for {called} stands twice"
    for found in record.confusion:
        if not {found.name, found.called} & {*record.names}:
            yield f"{found.data}: {found.name} taken for {found.called} is not about {record.label}"
        elif not of_names[found.data, found.name]:
            yield f"{found.data}: {found.name} taken for {found.called}, a class that has no score"


def _other_texts(record: Record) -> Iterator[str]:
    """Other texts than those of the request, and those of it that have no score though their class has."""
    wanted = {(t.name, t.kind, t.text) for t in texts_of(record.forgotten) if t.kind != "class"}
    measured = {(c.data, c.name) for c in record.classes.before if c.split == "forget"}
    expected = {(data, *text) for text in wanted for data, name in measured if name == text[0]}
    found = {(s.data, s.name, s.kind, s.text) for s in record.other_texts.before}
    for data, name, kind, text in sorted(found ^ expected):
        what = "is measured and none of the request" if (data, name, kind, text) in found else "is not measured"
        yield f"{data}: the {kind} {text!r} of {name} {what}"
    for one in record.retrieved:
        if one.asked not in record.names:
            yield f"{one.data}: what the text of {one.asked} finds is not about {record.label}"


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


def _mistaken(found: Confusion, score: ClassScore, names: tuple[str, ...], when: str) -> Iterator[str]:
    """No more images of another class can have been taken for the forgotten one than were wrong."""
    count, most = _count(found, when), score.n if found.name in names else score.n - right_ones(score)
    if found.n != score.n or count > most:
        told = f"{found.data} {when}: {count} of {found.n} images of {found.name} taken for {found.called}"
        yield f"{told}, but at most {most} of {score.n} can be"


def _weights(record: Record) -> Iterator[str]:
    weights = record.weights
    yield from (f"the tensor {name} stands twice" for name in repeated(t.name for t in weights.tensors))
    if weights.result is None:
        texts = (*record.other_texts.after, *record.other_texts.changes)
        scores = (*record.scores.after, *record.classes.after, *record.changes, *record.confusion)
        of_result = (*weights.changed, *scores, *texts)
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
