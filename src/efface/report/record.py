"""The record of a run: what was asked, what was done, what was measured. Written as record.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from efface.evaluation.base import Change, ClassScore, Score, Split
from efface.types import Trace

SCHEMA = "efface/record/1"
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DataUsed:
    """A source of held-out images, as it was found.

    Attributes:
        source: as the user gave it.
        sha256: of its files.
        n: images that were measured on.
        classes: size of its label set.
        where: what its images were chosen by, a value a column.
        skipped: of each image that could not be decoded and was left out, its name and the reason.
        lost: splits of which none of the images could be decoded, so that they are not measured.
    """

    source: str
    sha256: str
    n: int
    classes: int
    where: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    lost: tuple[Split, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """Digests of the weights before and after.

    Attributes:
        base: sha256 over names, dtypes, shapes and bytes of all tensors of the base.
        result: the same of the result; None where no model was made.
        changed: names of the tensors that differ.
    """

    base: str
    result: str | None
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """The same measurements on the base and on the result."""

    before: tuple[Score, ...] = ()
    after: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Per class, on the base and on the result."""

    before: tuple[ClassScore, ...] = ()
    after: tuple[ClassScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an evaluation found, and of which weights.

    Attributes:
        model: the model, as it was named.
        against: the base, as it was named; None for a model alone.
        name: the class whose images are the *forget* split; None for none.
        templates: the texts that a class name was put into.
        weights: digests; of a model alone under ``result`` and ``base`` alike.
        data: what it was measured on.
        scores: of a model alone under ``after``; with a base to compare, that one's under ``before``.
        classes: the same per class.
        changes: after less before, paired; none without a base.
        environment: versions and machine.
        precision: what the towers computed in.
    """

    model: str
    against: str | None
    name: str | None
    templates: tuple[str, ...]
    weights: Weights
    data: tuple[DataUsed, ...]
    scores: Scores
    classes: ClassScores
    changes: tuple[Change, ...]
    environment: Mapping[str, str]
    precision: str

    def to_json(self) -> str:
        """The measurement as JSON with sorted keys."""
        return _dump(self)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything about a run that can be written down.

    Attributes:
        model: the base, as the user named it.
        target: name of the forgotten class.
        among: names of all classes of the request.
        templates: the texts that a class name was put into.
        method: name of the method.
        preset: name of the preset that its settings are, or that they were changed from one.
        settings: the method's settings.
        synthesis: how images of the class were made, with settings and trace; None where none were needed.
        seed: of all random numbers.
        device: where it ran.
        precision: what the towers computed in.
        trace: the method's steps.
        reached: whether the run's own goal was reached; that is the method's stop rule, never a held-out score.
        reason: why it ended, in words.
        weights: digests.
        data: what it was measured on.
        scores: see :class:`Score`.
        changes: after less before, paired.
        classes: per class.
        environment: versions and machine.
        timing: seconds by stage.
        seconds: of the whole run.
        peak_memory_bytes: of the process, or of the accelerator where one was used.
    """

    model: str
    target: str
    among: tuple[str, ...]
    templates: tuple[str, ...]
    method: str
    preset: str
    settings: Settings
    synthesis: Mapping[str, Any] | None
    seed: int
    device: str
    precision: str
    trace: Trace
    reached: bool
    reason: str
    weights: Weights
    data: tuple[DataUsed, ...]
    scores: Scores
    changes: tuple[Change, ...]
    classes: ClassScores
    environment: Mapping[str, str]
    timing: Mapping[str, float]
    seconds: float
    peak_memory_bytes: int
    schema: str = field(default=SCHEMA, init=False)

    def to_json(self) -> str:
        """The record as JSON with sorted keys, so that equal records give equal bytes."""
        return _dump(self)


def _dump(document: "Measurement | Record") -> str:
    return json.dumps(asdict(document), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
