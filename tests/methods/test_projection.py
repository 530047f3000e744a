import pytest
import torch
import torch.nn.functional as F

from efface.encoding import encode_classes
from efface.errors import InputError
from efface.functional.projections import damping_map, distinct_direction
from efface.methods.projection import Projection
from efface.testing import tiny_class_tokens, tiny_dual_encoder, tiny_images
from efface.types import ForgetData, Silent


def test_the_edited_tower_puts_out_the_mapped_embeddings_and_the_text_tower_stays() -> None:
    model, reference = tiny_dual_encoder(), tiny_dual_encoder()
    tokens = tiny_class_tokens()
    images = tiny_images(3, rng=torch.Generator().manual_seed(1)).images
    trace = Projection().edit_(
        model, reference, ForgetData((4,), tokens), rng=torch.Generator().manual_seed(0), reporter=Silent()
    )
    direction = F.normalize(distinct_direction(encode_classes(reference, tokens), 4, ridge=0.1), dim=0)
    mapping = damping_map(direction[None], 4.0).float()
    torch.testing.assert_close(model.embed_image(images), reference.embed_image(images) @ mapping)
    assert torch.equal(encode_classes(model, tokens), encode_classes(reference, tokens))
    assert trace.reached
    assert 0 < float(trace.steps[0]["direction_length"]) <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"ridge": -1}, {"strength": -0.1}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Projection(**settings)


def test_a_class_that_is_nothing_beside_the_others_is_refused_rather_than_edited_along_rounding_errors() -> None:
    # Two classes with the same text: without a ridge nothing is left of either.
    model, reference = tiny_dual_encoder(), tiny_dual_encoder()
    tokens = torch.tensor([0, 1, 1, 2]).view(4, 1, 1)
    before = {name: t.clone() for name, t in model.module.state_dict().items()}
    with pytest.raises(InputError, match="leave a direction of length") as caught:
        Projection(ridge=0.0).edit_(
            model, reference, ForgetData((1,), tokens), rng=torch.Generator(), reporter=Silent()
        )
    assert caught.value.hint == "raise ridge above 0"
    assert all(torch.equal(t, before[name]) for name, t in model.module.state_dict().items())


def test_of_several_targets_what_they_span_is_damped_and_the_kept_classes_stay_where_they_were() -> None:
    model, reference, tokens = tiny_dual_encoder(), tiny_dual_encoder(), tiny_class_tokens()
    images = tiny_images(3, rng=torch.Generator().manual_seed(1)).images
    # A ridge of 0 leaves what is orthogonal to every class that is kept.
    data = ForgetData((1, 4), tokens)
    trace = Projection(ridge=0.0).edit_(model, reference, data, rng=torch.Generator(), reporter=Silent())
    classes = encode_classes(reference, tokens)
    before, after = reference.embed_image(images), model.embed_image(images)
    kept = classes[[row for row in range(len(classes)) if row not in data.targets]]
    torch.testing.assert_close(after @ kept.T, before @ kept.T, atol=1e-4, rtol=1e-4)
    assert ((after - before) @ classes[[1, 4]].T).abs().min() > 1e-3
    assert len(trace.steps) == 2
    assert "the targets' own directions" in trace.reason
