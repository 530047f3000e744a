from importlib.metadata import EntryPoint

import pytest
import torch

from efface.attacks import registry
from efface.attacks.base import Attack
from efface.attacks.probe import LinearProbe
from efface.attacks.registry import ATTACKS, attack_named, attack_names, chosen_attacks
from efface.backends.base import LoadedCLIP
from efface.errors import InputError
from efface.types import Silent
from tests.attacks.asking import asked_of


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_stands_under_its_own_name_and_says_what_it_does(name: str) -> None:
    attack = attack_named(name)
    assert isinstance(attack, Attack)
    assert attack.name == name
    assert attack.summary
    assert attack.tells


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ATTACKS["mine"] = LinearProbe  # type: ignore[index]


def test_what_all_are_compared_with_always_comes_first_and_nothing_twice() -> None:
    assert [attack.name for attack in chosen_attacks(["probe", "probe"])] == ["plain", "probe"]
    assert [attack.name for attack in chosen_attacks()] == attack_names()
    assert all(attack.quick for attack in chosen_attacks(quick=True))
    with pytest.raises(InputError, match="there is no attack 'prob'") as caught:
        chosen_attacks(["prob"])
    assert caught.value.hint == "did you mean probe?"


def test_a_plug_in_is_found_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "efface.attacks.probe:LinearProbe", "efface.attacks")

    def entry_points(*, group: str, name: str = "mine") -> list[EntryPoint]:
        return [point] if (group, name) == ("efface.attacks", "mine") else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert attack_names() == [*ATTACKS, "mine"]
    assert attack_named("mine") == LinearProbe()


def test_a_plug_in_that_cannot_be_loaded_is_refused_by_name_and_else_fails_when_it_is_run(
    clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("mine", "no_such_package:Attack", "efface.attacks")
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    with pytest.raises(InputError, match="'mine' cannot be loaded from 'no_such_package:Attack': ModuleNotFoundError"):
        chosen_attacks(["mine"])
    *_, last = chosen_attacks(quick=True)
    assert isinstance(last, Attack)
    assert last.name == "mine"
    with pytest.raises(InputError, match="cannot be loaded"):
        last.run(asked_of(clip), rng=torch.Generator(), reporter=Silent())
