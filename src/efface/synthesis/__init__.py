"""Images of a class from its name alone, when the user gives none."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthesizer
from efface.synthesis.batch import BatchAscent

PRESETS: Mapping[str, Synthesizer] = MappingProxyType({"default": BatchAscent(), "paper": GradientAscent()})
GUARD = BatchAscent()
"""Makes images of other classes for methods that hold these by them."""
NEAREST = 32
"""Classes that half of a guard's images are near to, those with the texts nearest to a target's."""


def preset_synthesizer(preset: str) -> Synthesizer:
    """The synthesis of a preset; the default one where the preset has none of its own."""
    return PRESETS.get(preset, PRESETS["default"])


def guard_synthesizer(synthesizer: Synthesizer) -> BatchAscent:
    """What makes a guard beside images of the class: as many climb at once as there, where several do."""
    return replace(GUARD, batch_size=synthesizer.batch_size) if isinstance(synthesizer, BatchAscent) else GUARD
