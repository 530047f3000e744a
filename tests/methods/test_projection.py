import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.encoding import encode_classes
from efface.functional.projections import distinct_direction
from efface.methods.projection import Projection, projection_map
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Silent


def units(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1)


@given(st.integers(0, 2**31), st.floats(0, 5), st.floats(1e-3, 10))
def test_the_map_takes_strength_times_the_unit_component(seed: int, strength: float, ridge: float) -> None:
    classes, features = units(5, 8, seed=seed), units(7, 8, seed=seed + 1)
    mapped = features @ projection_map(classes, 1, ridge=ridge, strength=strength)
    direction = F.normalize(distinct_direction(classes, 1, ridge=ridge), dim=0)
    torch.testing.assert_close(mapped @ direction, (1 - strength) * (features @ direction))


def test_the_edited_tower_puts_out_the_mapped_embeddings_and_the_text_tower_stays() -> None:
    model, reference = tiny_dual_encoder(), tiny_dual_encoder()
    tokens = tiny_class_tokens()
    images = tiny_images(3, rng=torch.Generator().manual_seed(1)).images
    trace = Projection().edit_(
        model, reference, ForgetData(4, tokens), rng=torch.Generator().manual_seed(0), reporter=Silent()
    )
    mapping = projection_map(encode_classes(reference, tokens), 4, ridge=0.1, strength=4.0).float()
    torch.testing.assert_close(model.embed_image(images), reference.embed_image(images) @ mapping)
    assert torch.equal(encode_classes(model, tokens), encode_classes(reference, tokens))
    assert trace.reached
    assert 0 < float(trace.steps[0]["direction_length"]) <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"ridge": -1}, {"strength": -0.1}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Projection(**settings)
