"""Images of a class from its name alone, when the user gives none."""

from collections.abc import Mapping
from types import MappingProxyType

from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthesizer
from efface.synthesis.batch import BatchAscent

PRESETS: Mapping[str, Synthesizer] = MappingProxyType({"default": BatchAscent(), "paper": GradientAscent()})
GUARD = BatchAscent()
"""Makes images of other classes for methods that hold these by them."""


def preset_synthesizer(preset: str) -> Synthesizer:
    """The synthesis of a preset; the default one where the preset has none of its own."""
    return PRESETS.get(preset, PRESETS["default"])
