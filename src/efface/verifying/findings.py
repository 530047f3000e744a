"""What a verification found: a check a code, with reasons that programs and people can read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Code = Literal["SCHEMA", "PAYLOAD", "WEIGHTS", "DATA", "SIGNATURE", "KEY", "EXPIRED", "SCORES"]
Status = Literal["passed", "failed", "skipped"]
MEANINGS: Mapping[Code, str] = {
    "SCHEMA": "the record has the form that its schema says",
    "PAYLOAD": "record, results and pictures are as they were written",
    "WEIGHTS": "the model's files and tensors are those of the record",
    "DATA": "the held-out images are those that were measured on",
    "SIGNATURE": "the signature belongs to this record",
    "KEY": "it was made by the key that was given",
    "EXPIRED": "it has not run out",
    "SCORES": "the scores agree with each other, and with a second measurement where one was asked for",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        code: what it was.
        status: whether it holds; *skipped* where it could not be told, or was not asked for.
        reasons: why it failed or was skipped.
    """

    code: Code
    status: Status
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was looked at in a run.

    Attributes:
        run: the run folder.
        statement: what the record says that was measured; None where it cannot be read.
        checks: one a code, in the order of :data:`MEANINGS`.
    """

    run: str
    statement: str | None
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Code, ...]:
        """The codes that do not hold."""
        return tuple(check.code for check in self.checks if check.status == "failed")

    def to_json(self) -> str:
        """As JSON: ``run``, ``ok``, ``failed``, ``statement`` and ``checks``."""
        document = {"ok": not self.failed, "failed": self.failed, **asdict(self)}
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def judged(code: Code, problems: list[str]) -> Check:
    """A check that fails where there is a problem."""
    return Check(code, "failed" if problems else "passed", tuple(problems))


def skipped(code: Code, reason: str) -> Check:
    """A check that could not be made."""
    return Check(code, "skipped", (reason,))
