from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface.export.folder import read_run
from efface.report.document import Sealed
from efface.verifying.particulars import contradictions


@pytest.fixture
def record(whole: Path) -> Sealed:
    return read_run(whole)


def first(found: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    return (replace(found[0], **changes), *found[1:])


def forgeries(record: Sealed) -> dict[str, dict[str, Any]]:
    """What a line must say, and fields that make it so."""
    used, weights, confusion, classes = record.data[0], record.weights, record.confusion, record.classes
    unmoved = next(i for i, t in enumerate(weights.tensors) if t.base == t.result)
    still = replace(weights.tensors[unmoved], largest_change=0.5)
    tensors = (*weights.tensors[:unmoved], still, *weights.tensors[unmoved + 1 :])
    forgotten = tuple(replace(c, split="retain") for c in classes.before)
    flattering = first(record.summaries, score=1.0, untouched=0.25)
    return {
        "is none of the data of the record": {"data": ()},
        "13 images were measured on, its classes have 12": {"data": (replace(used, n=13),)},
        "has 2 classes, of which 3 were measured": {"data": (replace(used, classes=2),)},
        "is said to be lost": {"data": (replace(used, lost=("forget",)),)},
        "stands twice": {"data": (used, used)},
        "the target is 'fox'": {"target": "fox"},
        "is not among the class names": {"targets": ("dog", "zebra")},
        "its trace says": {"reached": not record.reached},
        "untouched on ": {"summaries": flattering},
        "what the scores come to is not told": {"summaries": ()},
        "stands under retain": {"classes": replace(classes, before=forgotten)},
        "0 of 4 images of dog were taken for a class": {"confusion": ()},
        "images of dog were taken for it, but": {"confusion": tuple(replace(c, called="owl") for c in confusion)},
        "at most": {"confusion": first(confusion, n=5)},
        "is not about dog": {"confusion": first(confusion, name="cat", called="fox")},
        "taken for dog stands twice": {"confusion": (*confusion, next(c for c in confusion if c.called == "dog"))},
        "of what the text of dog finds stands twice": {"retrieved": (*record.retrieved, record.retrieved[0])},
        "aliases or phrases of 'cat'": {"aliases": {"cat": ("tabby",)}},
        "the alias 'hound' of dog is not measured": {"aliases": {"dog": ("hound",)}},
        "what the text of cat finds is not about dog": {"retrieved": first(record.retrieved, asked="cat")},
        "0 tensors are said to have changed": {"weights": replace(weights, changed=())},
        "do not say the same": {"weights": replace(weights, base=str(weights.result))},
        "is said to have moved": {"weights": replace(weights, tensors=tensors)},
        "no model was made": {"weights": replace(weights, result=None)},
    }


def test_a_measured_record_does_not_contradict_itself(record: Sealed) -> None:
    assert list(contradictions(record)) == []


def test_what_cannot_be_is_said(record: Sealed) -> None:
    told = {what: list(contradictions(replace(record, **changes))) for what, changes in forgeries(record).items()}
    assert {what: lines for what, lines in told.items() if not any(what in line for line in lines)} == {}


def test_two_classes_may_have_one_name(record: Sealed) -> None:
    """As ImageNet's names of its double classes: the cat and the fox both count as one."""

    def renamed(found: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(replace(one, name="cat") if one.name == "fox" else one for one in found)

    classes = replace(
        record.classes,
        before=renamed(record.classes.before),
        after=renamed(record.classes.after),
        changes=renamed(record.classes.changes),
    )
    confusion = tuple(replace(c, called="cat") if c.called == "fox" else c for c in renamed(record.confusion))
    assert list(contradictions(replace(record, classes=classes, confusion=confusion))) == []
