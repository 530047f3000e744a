import dataclasses
from importlib.metadata import EntryPoint

import pytest

from efface import methods
from efface.errors import InputError
from efface.methods import METHODS, method_class, method_name, method_names, method_preset, preset_label
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.methods.reassign import Reassign


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        METHODS["mine"] = Lip  # type: ignore[index]


def test_methods_and_presets_are_found_by_name() -> None:
    assert method_class("projection") is Projection
    assert method_preset("lip", "paper") == Lip()
    assert method_preset("lip", "default") == Reassign()
    # What two presets of one name do differs; each is that method.
    assert method_name(Lip()) == method_name(Reassign()) == "lip"


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="there is no method 'projektion'") as caught:
        method_class("projektion")
    assert caught.value.hint == "did you mean projection?"


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="lip has no preset 'papr'") as caught:
        method_preset("lip", "papr")
    assert caught.value.hint == "it has default, lipschitz, paper"


def test_a_record_tells_a_preset_from_settings_that_were_changed() -> None:
    assert preset_label(Lip(), "paper") == "paper"
    assert preset_label(Lip(samples=3), "paper") == "changed from paper"
    assert preset_label(Lip(), "default") == "changed from default"
    assert preset_label(Reassign(), "default") == "default"


def test_a_plug_in_is_found_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "efface.methods.projection:Projection", "efface.methods")

    def entry_points(*, group: str, name: str = "mine") -> list[EntryPoint]:
        return [point] if (group, name) == ("efface.methods", "mine") else []

    monkeypatch.setattr(methods, "entry_points", entry_points)
    assert method_names() == ["lip", "subgroup", "projection", "ga", "jit", "mine"]
    assert method_preset("mine", "default") == Projection()
    with pytest.raises(InputError, match="mine has no preset 'paper'"):
        method_preset("mine", "paper")


def test_a_method_that_is_not_in_the_table_is_named_by_where_it_is_defined() -> None:
    @dataclasses.dataclass(frozen=True)
    class Other(Projection): ...

    assert method_name(Other()).startswith("tests.methods.test_init.")
