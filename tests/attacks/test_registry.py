from importlib.metadata import EntryPoint

import pytest

from efface.attacks import registry
from efface.attacks.base import Attack
from efface.attacks.probe import LinearProbe
from efface.attacks.registry import ATTACKS, attack_named, attack_names, chosen_attacks
from efface.errors import InputError


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
