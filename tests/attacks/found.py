"""Rows as attacks hand them back, with made-up values."""

from typing import Any

from efface.attacks.base import FINAL_LIKENESS, PENULTIMATE_LIKENESS, Kind, Role, Row, Trial
from efface.attacks.verdict import Verdict

N = 100
AS_IT_IS = "as it is"


def rows(
    attack: str,
    kind: Kind,
    of: dict[str, float],
    setting: str = AS_IT_IS,
    *,
    role: Role = "forget",
    images: int | None = None,
    others: int | None = None,
) -> list[Row]:
    """One setting of an attack, with the value of each model."""
    trial = Trial(attack, setting, kind, {} if images is None else {"images": images}, others)
    return [trial.mean(model, role, value, N) for model, value in of.items()]


def with_control(
    attack: str, kind: Kind, of: dict[str, float], control: dict[str, float], *, images: int | None = None
) -> list[Row]:
    """The same with the control's values."""
    return [*rows(attack, kind, of, images=images), *rows(attack, kind, control, role="control", images=images)]


def plain(edited: float, gold: float | None = 0.0) -> list[Row]:
    return rows("plain", "output", {"reference": 0.98, "edited": edited} | ({} if gold is None else {"gold": gold}))


def likeness(penultimate: float, final: float) -> list[Row]:
    """How like the original's the features of the edited model are."""
    found: list[Row] = []
    for setting, value in ((PENULTIMATE_LIKENESS, penultimate), (FINAL_LIKENESS, final)):
        found += rows("plain", "measure", {"reference": 1.0, "edited": value}, setting)
    return found


def one(verdict: Verdict, attack: str) -> tuple[str, Any]:
    (case,) = [case for case in verdict.cases if (case.attack, case.setting) == (attack, AS_IT_IS)]
    return case.judgement, case.back
