import pytest
import torch

from efface import testing
from efface.encoding import encode_classes, predict
from efface.testing import CLASSES, tiny_class_tokens, tiny_dual_encoder, tiny_images, tiny_patterns


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_tiny_clip_knows_its_world_and_a_random_one_does_not(batch_norm: bool) -> None:
    data = tiny_images(20, rng=torch.Generator().manual_seed(1))

    def share(steps: int) -> float:
        model = tiny_dual_encoder(batch_norm=batch_norm, steps=steps)
        right = predict(model, data.images, encode_classes(model, tiny_class_tokens())) == data.labels
        return right.float().mean().item()

    assert share(80) > 0.95
    assert share(0) < 0.6


def test_the_same_arguments_give_the_same_model_and_leave_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one = tiny_dual_encoder(seed=4, steps=3).module.state_dict()
    testing._trained.cache_clear()  # so that it is trained again
    other = tiny_dual_encoder(seed=4, steps=3).module.state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_edited_model_leaves_the_next_of_the_same_arguments_as_it_was() -> None:
    edited = tiny_dual_encoder(steps=3).module
    before = {name: tensor.clone() for name, tensor in edited.state_dict().items()}
    with torch.no_grad():
        for parameter in edited.parameters():
            parameter.add_(1)
    assert all(torch.equal(tiny_dual_encoder(steps=3).module.state_dict()[name], t) for name, t in before.items())


def test_images_are_of_the_classes_asked_for() -> None:
    data = tiny_images(3, rng=torch.Generator().manual_seed(1), classes=[4, 1])
    assert data.labels.tolist() == [4, 4, 4, 1, 1, 1]
    assert tiny_patterns().shape == (CLASSES, 3, 8, 8)
    # Normalised with mean 0.5 and standard deviation 0.25, pixels lie in [-2, 2].
    assert data.images.abs().max() <= 2


@pytest.mark.parametrize("batch_norm", [False, True])
def test_its_blocks_are_two_layers_of_the_image_tower(batch_norm: bool) -> None:
    model = tiny_dual_encoder(batch_norm=batch_norm, steps=0)
    assert model.image_blocks() == (model.module.image["stem"], model.module.image["pool"])


def test_a_folded_map_maps_every_embedding() -> None:
    model = tiny_dual_encoder(steps=0)
    images = tiny_images(1, rng=torch.Generator().manual_seed(1)).images
    before, matrix = model.embed_image(images), torch.randn(16, 16, generator=torch.Generator().manual_seed(1))
    model.fold_image_map_(matrix)
    torch.testing.assert_close(model.embed_image(images), before @ matrix)
