"""What a record keeps of a source of held-out images, and what was left out of it."""

from collections.abc import Iterator, Sequence

import torch

from efface.data.holdout import EvalData
from efface.evaluation.base import Split
from efface.records.canonical import sha256
from efface.report.record import DataUsed
from efface.report.rows import split_words
from efface.request import in_words


def data_used(source: EvalData, names: Sequence[str] = ()) -> DataUsed:
    """What a record keeps of a source.

    Args:
        source: held-out images; what was left out of them is known once all were decoded.
        names: the classes whose images are the *forget* split.
    """
    skipped = tuple(source.skipped.reasons.values())
    return DataUsed(
        source=source.source,
        sha256=source.sha256,
        n=len(source.images) - len(skipped),
        classes=len(source.class_names),
        manifest=sha256({"class_names": source.class_names, "labels": source.images.labels.tolist()}),
        where=dict(source.where),
        skipped=skipped,
        lost=_lost(source, names),
        forget_where={} if source.kind is None else dict(source.kind.where),
    )


def left_out(source: EvalData, names: Sequence[str] = ()) -> Iterator[str]:
    """What there is to say of images that could not be decoded: how many, and which split has none left for that."""
    skipped = tuple(source.skipped.reasons.values())
    if skipped:
        yield f"{len(skipped)} of the {len(source.images)} images of {source.source!r} are left out; {skipped[0]}"
    for split in _lost(source, names):
        images = split_words(split, in_words(names))
        yield f"all {images} in {source.source!r} are left out: nothing is measured on them"


def _lost(source: EvalData, names: Sequence[str]) -> tuple[Split, ...]:
    """The splits that the source has images of, but none that could be decoded."""
    if not source.classes_of(names):
        return ()
    of_classes, to_forget = source.of_classes(names), source.to_forget(names)
    decoded = torch.ones_like(of_classes)
    decoded[list(source.skipped.reasons)] = False
    splits: dict[Split, torch.Tensor] = {
        "forget": to_forget,
        "siblings": of_classes & ~to_forget,
        "retain": ~of_classes,
    }
    return tuple(split for split, rows in splits.items() if rows.any() and not (rows & decoded).any())
