"""The methods, one file each, and the tables that they are looked up in."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from efface.errors import InputError, offer
from efface.methods import ga, jit, lip, subgroup
from efface.methods.base import ForgetMethod
from efface.methods.ga import Ga
from efface.methods.jit import Jit
from efface.methods.projection import Projection
from efface.methods.reassign import Reassign
from efface.methods.subgroup import Subgroup

MethodClass = Callable[..., ForgetMethod]
"""The class of a method: called with its settings, it gives the method."""

METHODS: Mapping[str, MethodClass] = MappingProxyType(
    {"lip": Reassign, "subgroup": Subgroup, "projection": Projection, "ga": Ga, "jit": Jit}
)
PRESETS: Mapping[str, Mapping[str, ForgetMethod]] = MappingProxyType(
    {
        "lip": {"default": Reassign(), "lipschitz": lip.LIPSCHITZ, "paper": lip.PAPER},
        "subgroup": subgroup.PRESETS,
        "projection": {"default": Projection()},
        "ga": ga.PRESETS,
        "jit": jit.PRESETS,
    }
)
ENTRY_POINTS = "efface.methods"


def method_names() -> list[str]:
    """The names of all methods, those of installed plug-ins included."""
    return [*METHODS, *(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in METHODS)]


def method_class(name: str) -> MethodClass:
    """The class of a method, from the table or from an installed plug-in.

    Raises:
        InputError: If there is no such method; the hint offers the nearest names.
    """
    if name in METHODS:
        return METHODS[name]
    for point in entry_points(group=ENTRY_POINTS, name=name):
        loaded: MethodClass = point.load()
        return loaded
    raise InputError(f"there is no method {name!r}", hint=offer(name, method_names()))


def method_preset(name: str, preset: str) -> ForgetMethod:
    """A method with a preset's settings. A plug-in has one preset, ``default``: its own defaults.

    Raises:
        InputError: If there is no such method or preset.
    """
    found = method_class(name)
    presets = PRESETS.get(name) or {"default": found()}
    if preset not in presets:
        raise InputError(f"{name} has no preset {preset!r}", hint=f"it has {', '.join(presets)}")
    return presets[preset]


def preset_label(method: ForgetMethod, preset: str) -> str:
    """What a record says of a method's settings: the preset's name if they are the preset's, else that they are not."""
    name = method_name(method)
    known = PRESETS[name].get(preset) if name in PRESETS else type(method)()
    if known is None:
        return "own settings"
    return preset if method == known else f"changed from {preset}"


def method_name(method: ForgetMethod) -> str:
    """The name that a method stands under in the table; for others, where its class is defined."""
    kind = type(method)
    kinds = {name: {known, *map(type, PRESETS[name].values())} for name, known in METHODS.items()}
    return next((name for name, known in kinds.items() if kind in known), f"{kind.__module__}.{kind.__qualname__}")
