from efface.synthesis import PRESETS
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.base import Synthesizer


def test_the_paper_preset_has_the_published_settings_and_every_preset_is_a_synthesizer() -> None:
    assert PRESETS["paper"] == GradientAscent()
    assert all(isinstance(preset, Synthesizer) for preset in PRESETS.values())
