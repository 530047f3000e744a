import math
from dataclasses import replace

import pytest
import torch

from efface.attacks.base import Asked, Attack, Trial
from efface.attacks.plain import Plain
from efface.attacks.retrieval import Retrieval
from efface.attacks.run import Tried, run_attacks
from efface.backends.base import LoadedCLIP
from efface.errors import InputError
from efface.types import Silent
from tests.attacks.asking import asked_of
from tests.auditing.mine import Mine


def tried(asked: Asked, *attacks: Attack, known: dict[str, Tried] | None = None) -> tuple[tuple[Tried, ...], list[int]]:
    noted: list[int] = []
    found = run_attacks(
        asked,
        attacks,
        rng=lambda name: torch.Generator(),
        known=known or {},
        note=lambda some: noted.append(len(some)),
        reporter=Silent(),
    )
    return found, noted


def test_what_is_known_with_the_same_settings_is_not_tried_again(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    (first,), noted = tried(asked, Mine())
    assert (first.attack, len(first.rows), first.lacked, noted) == ("mine", 2, None, [1])
    (again,), noted = tried(asked, Mine(), known={"mine": first})
    assert again is first
    assert noted == []
    (other,), noted = tried(asked, Mine(lacking=True), known={"mine": first})
    assert (other.rows, other.lacked, noted) == ((), "it needs the moon; wait", [1])


def test_what_is_known_and_not_asked_for_stays(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    (first,), _ = tried(asked, Mine())
    found, _ = tried(asked, Mine(), known={"older": first})
    assert [one.attack for one in found] == ["mine", "mine"]
    assert found[0] is first


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        (Mine(breaking=True), "ZeroDivisionError: by the moon"),
        (Mine(wrong=True), "WrongRowsError: its rows are of 'another'"),
    ],
)
def test_what_breaks_is_noted_with_its_reason_and_the_others_are_tried(
    clip: LoadedCLIP, mine: Mine, reason: str
) -> None:
    (plain, broken, retrieval), noted = tried(asked_of(clip), Plain(), mine, Retrieval())
    assert (broken.failed, broken.rows, broken.lacked, broken.is_whole) == (reason, (), None, False)
    assert plain.rows
    assert retrieval.rows
    assert noted == [1, 2, 3]
    # It is tried again, and may do better.
    (again,), _ = tried(asked_of(clip), Mine(), known={"mine": replace(broken, settings=str(Mine()))})
    assert again.is_whole


def test_rows_that_cannot_be_written_down_break_their_attack_alone(
    clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial("mine", "as it is", "output")
    good = trial.mean("edited", "forget", 0.5, 4)
    for bad in (replace(good, value=math.nan), replace(good, n=0), replace(good, cost={"time": math.inf}), "no row"):
        monkeypatch.setattr(Mine, "run", lambda *_, bad=bad, **__: (good, bad))
        (found,), _ = tried(asked_of(clip), Mine())
        assert found.failed is not None
        assert found.failed.startswith("WrongRowsError: its rows cannot be used")
        assert found.rows == ()


def test_what_breaks_what_all_are_compared_with_breaks_all(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise InputError("no image can be decoded", hint="look at one")

    monkeypatch.setattr(Plain, "run", broken)
    with pytest.raises(InputError, match="no image can be decoded"):
        tried(asked_of(clip), Plain())


def test_what_could_not_be_tried_is_tried_again(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    (lacking,), _ = tried(asked, Mine(lacking=True))
    (again,), noted = tried(asked, Mine(lacking=True), known={"mine": lacking})
    assert (again.lacked, noted) == (lacking.lacked, [1])
    assert again is not lacking
