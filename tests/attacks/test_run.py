import torch

from efface.attacks.base import Asked
from efface.attacks.run import Tried, run_attacks
from efface.backends.base import LoadedCLIP
from efface.types import Silent
from tests.attacks.asking import asked_of
from tests.auditing.mine import Mine


def tried(asked: Asked, *attacks: Mine, known: dict[str, Tried] | None = None) -> tuple[tuple[Tried, ...], list[int]]:
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


def test_what_could_not_be_tried_is_tried_again(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    (lacking,), _ = tried(asked, Mine(lacking=True))
    (again,), noted = tried(asked, Mine(lacking=True), known={"mine": lacking})
    assert (again.lacked, noted) == (lacking.lacked, [1])
    assert again is not lacking
