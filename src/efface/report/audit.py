"""What an audit found, as a document beside a run's record, and as a section of its page."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from efface.attacks.judging import Case
from efface.attacks.run import Tried
from efface.attacks.verdict import Verdict
from efface.errors import InputError
from efface.records.fields import Amount, Count, Digest, Time

SCHEMA: Literal["efface/audit/2"] = "efface/audit/2"


@dataclass(frozen=True, slots=True)
class Audited:
    """A model that was asked: its name as given, and the sha256 of its weights."""

    source: str
    weights: Digest


@dataclass(frozen=True, slots=True)
class ImagesUsed:
    """Images that were used.

    Attributes:
        source: as the user gave it.
        sha256: of all that the source holds.
        n: how many images were drawn from it.
        classes: of how many classes.
        note: how they were drawn.
    """

    source: str
    sha256: Digest
    n: Count
    classes: Count
    note: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What was audited, on what: two audits of one subject can be put together.

    Attributes:
        record: the digest of the record of the run that was audited; None for models without one.
        models: ``reference``, ``edited`` and, where there was one, ``gold``.
        name: the forgotten class.
        control: the class that was asked for beside it.
        templates: texts with ``{}`` for a class name.
        words: aliases and phrases that it was asked by too.
        held_out: the images that judge.
        images: the attacker's own.
        seed: of all random numbers.
        precision: what the towers computed in.
        members: images that the reference was trained on; None where none were given.
        beside: other classes that were forgotten with it, which are no control.
    """

    record: Digest | None
    models: Mapping[str, Audited]
    name: str
    control: str
    templates: tuple[str, ...]
    words: tuple[str, ...]
    held_out: ImagesUsed
    images: ImagesUsed
    seed: Count
    precision: str
    members: ImagesUsed | None = None
    beside: tuple[str, ...] = ()

    @property
    def told(self) -> Mapping[str, object]:
        """What makes it this one and no other, by what it is: contents, and not where they lie."""
        images = {"images that judge": self.held_out, "attacker's images": self.images, "training images": self.members}
        return {
            "class": self.name,
            "record": self.record,
            **{f"{called} model": one.weights for called, one in self.models.items()},
            "control": self.control,
            "templates": self.templates,
            "other words": self.words,
            "classes forgotten beside it": self.beside,
            "seed": self.seed,
            "precision": self.precision,
            **{what: one and (one.sha256, one.n, one.classes, one.note) for what, one in images.items()},
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit: what was asked, what every attack brought back, and what that says.

    Attributes:
        subject: what was audited.
        tried: the attacks.
        verdict: what they say together.
        device: where it ran.
        environment: versions and machine.
        seconds: of all attacks, those of audits that were gone on with included.
        created: when it was made, in UTC.
        schema: the form of this document.
    """

    subject: Subject
    tried: tuple[Tried, ...]
    verdict: Verdict
    device: str
    environment: Mapping[str, str]
    seconds: Amount
    created: Time
    schema: Literal["efface/audit/2"] = SCHEMA

    def to_json(self) -> str:
        """As JSON with sorted keys."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"

    @property
    def statement(self) -> str:
        """The verdict as a sentence that says what it holds for."""
        gold = "with gold beside it" if self.verdict.with_gold else "without gold"
        tried = [one for one in self.tried if one.is_whole]
        failed = f"incomplete, as {len(self.verdict.incomplete)} failed, " if self.verdict.incomplete else ""
        held_out, weights = self.subject.held_out, self.subject.models["edited"].weights
        return (
            f"{self.subject.name}: {self.verdict.word}, {failed}by {len(tried)} attacks on {held_out.n} images "
            f"of {held_out.source}, {gold}, for weights sha256 {weights}"
        )


def read_audit(path: Path) -> Audit:
    """The audit in a file.

    Raises:
        InputError: If it is none, or of another form.
    """
    try:
        found: Audit = _adapter().validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{str(path)!r} is no audit of this version: {where}: {first['msg']}",
            hint="remove it, and run efface audit again",
        ) from None
    return found


def cases_by_attack(audit: Audit) -> dict[str, list[Case]]:
    """The cases of each attack, in the order in which they were tried."""
    return {one.attack: [case for case in audit.verdict.cases if case.attack == one.attack] for one in audit.tried}


@cache
def _adapter() -> Any:
    return TypeAdapter(Audit)
