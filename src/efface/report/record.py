"""The record of a run: what was asked, what was done, what was measured. Written as record.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from efface.beside import Beside
from efface.data.sifted import Sifted
from efface.evaluation.base import Change, ClassScore, Score
from efface.evaluation.collateral import ClassChange, Confusion
from efface.evaluation.other_texts import TextChange, TextScore
from efface.evaluation.retrieval import Retrieved
from efface.evaluation.summary import Summary
from efface.records.fields import Amount, Count, Digest, Positive, Time
from efface.report.sources import DataUsed as DataUsed
from efface.report.sources import Handed as Handed
from efface.report.sources import OwnImages as OwnImages
from efface.request import ClassTarget, label_of
from efface.types import Trace

SCHEMA: Literal["efface/record/3"] = "efface/record/3"
Templates = Annotated[tuple[Annotated[str, Field(pattern=r"\{\}")], ...], Field(min_length=1)]
Precision = Annotated[str, Field(pattern="^(float32|bfloat16)$")]


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor before and after.

    Attributes:
        name: as the checkpoint calls it.
        dtype: as it is stored.
        shape: its sizes.
        base: sha256 over name, dtype, shape and bytes in the base.
        result: the same in the result; None where no model was made.
        relative_change: the norm of what was added, over the norm of the base's; None where that is 0, or no model.
        largest_change: of any single weight; None where no model was made.
    """

    name: str
    dtype: str
    shape: tuple[Count, ...]
    base: Digest
    result: Digest | None
    relative_change: Amount | None
    largest_change: Amount | None


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file of the run folder: its path below the folder, with ``/`` between the parts, and its bytes."""

    path: str
    sha256: Digest
    bytes: Count


@dataclass(frozen=True, slots=True)
class Weights:
    """Digests of the weights before and after.

    Attributes:
        base: sha256 over names, dtypes, shapes and bytes of all tensors of the base.
        result: the same of the result; None where no model was made.
        changed: names of the tensors that differ.
        tensors: every tensor, in the order of the names.
    """

    base: Digest
    result: Digest | None
    changed: tuple[str, ...]
    tensors: tuple[TensorDigest, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """The same measurements on the base and on the result."""

    before: tuple[Score, ...] = ()
    after: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Per class: on the base, on the result, and how far they differ on the same images."""

    before: tuple[ClassScore, ...] = ()
    after: tuple[ClassScore, ...] = ()
    changes: tuple[ClassChange, ...] = ()


@dataclass(frozen=True, slots=True)
class OtherTextScores:
    """With an alias or a phrase in the place of its class's text: on the base, on the result, and how far they differ.

    The scores of the classes themselves are those of :class:`Scores`, in which aliases and phrases have no part.
    """

    before: tuple[TextScore, ...] = ()
    after: tuple[TextScore, ...] = ()
    changes: tuple[TextChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an evaluation found, and of which weights.

    Attributes:
        model: the model, as it was named.
        against: the base, as it was named; None for a model alone.
        name: the class whose images are the *forget* split, the first of several; None for none.
        templates: the texts that a class name was put into.
        weights: digests; of a model alone under ``result`` and ``base`` alike.
        data: what it was measured on.
        scores: of a model alone under ``after``; with a base to compare, that one's under ``before``.
        classes: the same per class.
        changes: after less before, paired; none without a base.
        confusion: what the forgotten class is taken for, and what for it; none without a base.
        environment: versions and machine.
        precision: what the towers computed in.
        names: all classes whose images are the *forget* split.
        other_texts: with an alias or a phrase in the place of a class's text.
        summaries: what the accuracies come to; none without a base.
        gold: the scores of a model that was trained without what was forgotten; none where none was given.
    """

    model: str
    against: str | None
    name: str | None
    templates: Templates
    weights: Weights
    data: tuple[DataUsed, ...]
    scores: Scores
    classes: ClassScores
    changes: tuple[Change, ...]
    confusion: tuple[Confusion, ...]
    environment: Mapping[str, str]
    precision: Precision
    names: tuple[str, ...] = ()
    other_texts: OtherTextScores = field(default_factory=OtherTextScores)
    summaries: tuple[Summary, ...] = ()
    gold: tuple[Score, ...] = ()

    @property
    def label(self) -> str:
        """What was forgotten in words: the classes, and of which kind; empty where none is named."""
        return label_of(self.names, next((used.forget_where for used in self.data if used.forget_where), {}))

    def to_json(self) -> str:
        """The measurement as JSON with sorted keys."""
        return dump(self)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything about a run that can be written down.

    Attributes:
        model: the base, as the user named it.
        target: name of the forgotten class, the first of several.
        among: names of all classes of the request.
        templates: the texts that a class name was put into.
        method: name of the method.
        preset: name of the preset that its settings are, or that they were changed from one.
        settings: the method's settings.
        synthesis: how images of the class were made, with settings and trace; None where none were.
        guard: how the images of other classes were made that held these, their number, and how many classes with the
            nearest texts half of them are near to, and the share near the class itself (``own``), if any; None for a
            method that asks for none.
        seed: of all random numbers.
        device: where it ran.
        precision: what the towers computed in.
        batch_size: images at a time in evaluation; another one may round differently.
        trace: the method's steps.
        reached: whether the run's own goal was reached; that is the method's stop rule, never a held-out score.
        reason: why it ended, in words.
        weights: digests.
        data: what it was measured on.
        scores: see :class:`Score`.
        changes: after less before, paired.
        classes: per class.
        confusion: what images of the forgotten class were taken for, and what was taken for it.
        retrieved: the images that the text of each forgotten class finds, before and after.
        environment: versions and machine.
        timing: seconds by stage.
        seconds: of the whole run.
        peak_memory_bytes: of the process, or of the accelerator where one was used.
        created: when it was made, in UTC, as ``2026-01-31T12:00:00Z``.
        targets: names of all forgotten classes, the first one first.
        aliases: of each class that has some, other names of it that were to fall too.
        phrases: of each class that has some, texts that were to fall too.
        images: the user's own images; None where there were none.
        beside: which kind of the class was to be forgotten, and what images of what was to stay were given.
        handed: the images of these that the method was handed.
        sifted: near duplicates and outliers among those, and what was to be done with them.
        other_texts: whether they fell: scores with one of them in the place of its class's text.
        summaries: what the accuracies come to, as publications print it.
        files: what lies in the run folder beside the record, its page and its card; none before it is saved.
        schema: the form of this document.
    """

    model: str
    target: str
    among: Annotated[tuple[str, ...], Field(min_length=2)]
    templates: Templates
    method: str
    preset: str
    settings: Mapping[str, Any]
    synthesis: Mapping[str, Any] | None
    guard: Mapping[str, Any] | None
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    precision: Precision
    batch_size: Positive
    trace: Trace
    reached: bool
    reason: str
    weights: Weights
    data: tuple[DataUsed, ...]
    scores: Scores
    changes: tuple[Change, ...]
    classes: ClassScores
    confusion: tuple[Confusion, ...]
    retrieved: tuple[Retrieved, ...]
    environment: Mapping[str, str]
    timing: Mapping[str, Amount]
    seconds: Amount
    peak_memory_bytes: Count
    created: Time
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    aliases: Mapping[str, tuple[str, ...]]
    phrases: Mapping[str, tuple[str, ...]]
    images: OwnImages | None
    sifted: Sifted
    other_texts: OtherTextScores
    beside: Beside
    handed: tuple[Handed, ...]
    summaries: tuple[Summary, ...]
    files: tuple[FileDigest, ...] = ()
    schema: Literal["efface/record/3"] = SCHEMA

    @property
    def names(self) -> tuple[str, ...]:
        """All forgotten classes."""
        return self.targets

    @property
    def forgotten(self) -> tuple[ClassTarget, ...]:
        """What was asked to be forgotten."""
        return tuple(ClassTarget(n, self.aliases.get(n, ()), self.phrases.get(n, ())) for n in self.names)

    @property
    def label(self) -> str:
        """What was forgotten in words: the classes, and of which kind."""
        return label_of(self.names, self.beside.where)

    def to_json(self) -> str:
        """The record as JSON with sorted keys, so that equal records give equal bytes."""
        return dump(self)


def dump(document: "Measurement | Record") -> str:
    """A document as JSON for people and programs: sorted keys, a line a value."""
    return json.dumps(asdict(document), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
