import torch

from efface.attacks.plain import Plain
from efface.attacks.weights import Weights, _changed, _rounded, _towards
from efface.backends.base import LoadedCLIP
from efface.functional.quantization import rounded_to_bits
from efface.types import Silent
from tests.attacks.asking import asked_of, value


def shifted(clip: LoadedCLIP) -> LoadedCLIP:
    """A copy with other image weights."""
    copied, rng = clip.copy(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for group in copied.encoder.weights("image"):
            for parameter in group.parameters:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return copied


def test_the_whole_way_is_the_original_and_no_step_the_model_itself(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, shifted(clip))
    attack = Weights(steps=(0.0, 1.0), judged=1.0, bits=(), pruned=(0.0,))
    rows = attack.run(asked, rng=torch.Generator(), reporter=Silent())
    plain = Plain().run(asked, rng=torch.Generator(), reporter=Silent())
    for role in ("forget", "control"):
        for setting, model in (
            ("0 of the way to the original", "edited"),
            ("0% of the weights pruned", "edited"),
            ("1 of the way to the original", "reference"),
        ):
            expected = value(plain, model=model, role=role, setting="by its name")
            assert value(rows, model="edited", role=role, setting=setting) == expected
    assert {row.kind for row in rows} == {"output"}
    far = Weights(steps=(0.5,), bits=(), pruned=()).run(asked, rng=torch.Generator(), reporter=Silent())
    assert {row.kind for row in far} == {"measure"}


def test_copies_are_changed_and_models_are_not(clip: LoadedCLIP) -> None:
    other = shifted(clip)
    before = {name: p.clone() for name, p in other.encoder.module.named_parameters()}
    half = dict(
        _changed(
            other, clip, lambda weight, original: _towards(0.5, weight, original)
        ).encoder.module.named_parameters()
    )
    few = dict(
        _changed(other, clip, lambda weight, original: _rounded(4, weight, original)).encoder.module.named_parameters()
    )
    originals = dict(clip.encoder.module.named_parameters())
    for name, parameter in other.encoder.module.named_parameters():
        assert torch.equal(parameter, before[name])
        torch.testing.assert_close(half[name], (parameter + originals[name]) / 2)
        # Open_clip stores its last maps with the outputs as columns: a scale is an output's in them too.
        of_outputs = parameter.T if name in ("visual.proj", "text_projection") else parameter
        rounded = rounded_to_bits(of_outputs, 4) if parameter.dim() > 1 else parameter
        assert torch.equal(few[name], rounded.T if of_outputs is not parameter else rounded)
    assert {"visual.proj", "text_projection"} <= set(few)
