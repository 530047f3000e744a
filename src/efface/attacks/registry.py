"""The table that attacks are looked up in, and those that others add."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import ClassVar

import torch

from efface.attacks.base import PLAIN, Asked, Attack, Row
from efface.attacks.drift import Drift
from efface.attacks.membership import Membership
from efface.attacks.neighbors import NearestNeighbors
from efface.attacks.plain import Plain
from efface.attacks.probe import LinearProbe
from efface.attacks.prompts import Prompts
from efface.attacks.prototype import Prototype
from efface.attacks.relearn import Relearn
from efface.attacks.retrieval import Retrieval
from efface.attacks.soft_prompt import SoftPrompt
from efface.attacks.towers import Towers
from efface.attacks.weights import Weights
from efface.errors import InputError, offer
from efface.types import Reporter

AttackClass = Callable[..., Attack]
"""The class of an attack: called with its settings, it gives the attack."""

ATTACKS: Mapping[str, AttackClass] = MappingProxyType(
    {
        "plain": Plain,
        "prompts": Prompts,
        "towers": Towers,
        "prototype": Prototype,
        "probe": LinearProbe,
        "neighbors": NearestNeighbors,
        "weights": Weights,
        "retrieval": Retrieval,
        "soft_prompt": SoftPrompt,
        "relearn": Relearn,
        "membership": Membership,
        "drift": Drift,
    }
)
ENTRY_POINTS = "efface.attacks"


def attack_names() -> list[str]:
    """The names of all attacks, those of installed plug-ins included."""
    return [*ATTACKS, *(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in ATTACKS)]


def attack_named(name: str) -> Attack:
    """An attack with its default settings, from the table or from an installed plug-in.

    Raises:
        InputError: If there is none of that name, when the hint offers the nearest names, or it cannot be loaded.
    """
    if name in ATTACKS:
        return ATTACKS[name]()
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            loaded: AttackClass = point.load()
            return loaded()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise InputError(
                f"the attack {name!r} cannot be loaded from {point.value!r}: {problem}",
                hint="mend or remove its package",
            ) from error
    raise InputError(f"there is no attack {name!r}", hint=offer(name, attack_names()))


def broken(called: str, problem: InputError) -> Attack:
    """In the place of an attack of an installed plug-in that cannot be loaded: it fails, and the others are tried."""

    class Broken:
        name: ClassVar[str] = called
        summary: ClassVar[str] = "an attack of another package, which cannot be loaded"
        tells: ClassVar[str] = "nothing"
        quick: ClassVar[bool] = True

        def __repr__(self) -> str:
            return f"Broken({called!r})"

        def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
            """Fails, with what came of loading it."""
            raise problem

    return Broken()


def chosen_attacks(names: Sequence[str] = (), *, quick: bool = False) -> tuple[Attack, ...]:
    """The attacks that are asked for, each once: all without names, and of those the quick ones alone if so asked.

    What all are compared with, ``plain``, always comes first.

    Raises:
        InputError: If there is none of a name, or one that is named cannot be loaded. Where all are asked for, one that
            cannot fails when it is run.
    """
    wanted = dict.fromkeys([PLAIN, *(names or attack_names())])
    found = [attack_named(name) if names else _loaded(name) for name in wanted]
    return tuple(attack for attack in found if attack.quick or names or not quick)


def _loaded(name: str) -> Attack:
    try:
        return attack_named(name)
    except InputError as error:
        return broken(name, error)
