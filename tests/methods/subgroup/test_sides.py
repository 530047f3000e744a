"""What the first stage trains on: whose trunk an image goes through, and what its features are to be."""

import torch

from efface.cut import CutTower
from efface.encoding import encode_classes
from efface.functional.handover import reassigned, standing_out
from efface.methods.subgroup.sides import encoded, handed_over
from efface.testing import TinyDualEncoder, tiny_class_tokens, tiny_dual_encoder
from tests.methods.subgroup.material import TARGET, kind


def moved_stem() -> TinyDualEncoder:
    model = tiny_dual_encoder()
    with torch.no_grad():
        model.module.get_parameter("image.stem.weight").mul_(0.5)
    return model


def test_activations_are_of_the_model_that_is_edited_and_features_of_the_one_that_teaches() -> None:
    model, reference, images = moved_stem(), tiny_dual_encoder(), kind(5, 1).images
    tower, taught = CutTower(model, 1), CutTower(reference, 1)
    told: list[int] = []
    rng = torch.Generator().manual_seed(0)
    activations, features = encoded(tower, taught, images, 2, 0.0, rng=rng, advance=told.append)
    assert told == [5, 5, 5]
    assert len(activations) == len(features) == 15
    torch.testing.assert_close(activations[:5], tower.activations(images))
    torch.testing.assert_close(features[:5], reference.encode_image(images).detach())
    # Where one tower is both, the copies are the same and so are the features.
    rng = torch.Generator().manual_seed(0)
    shared, same = encoded(taught, taught, images, 2, 0.0, rng=rng)
    torch.testing.assert_close(same, features)
    assert (shared - activations).abs().max() > 0.1


def test_each_image_and_its_copies_are_handed_over_by_what_their_own_classes_stand_out_by() -> None:
    model = tiny_dual_encoder()
    images, classes = kind(3, 1, (TARGET, 4, 0)), encode_classes(model, tiny_class_tokens())
    features = model.encode_image(images.images).detach()
    both = torch.cat([features, features.flip(1)])
    wanted = handed_over(both, images.labels, classes, ((TARGET,), (4, 5)), 0.8)
    for rows, own in (((TARGET,), slice(0, 3)), ((4, 5), slice(3, 6))):
        apart = 0.8 * standing_out(features[own], classes, rows).item()
        torch.testing.assert_close(wanted[:9][own], reassigned(features[own], classes, rows, apart))
        torch.testing.assert_close(wanted[9:][own], reassigned(both[9:][own], classes, rows, apart))
    # Of a class that is not to go nothing is moved.
    assert torch.equal(wanted[:9][6:], features[6:])


def test_a_class_that_stands_behind_others_on_its_images_leads_none_of_them_after_that() -> None:
    model = tiny_dual_encoder()
    images, classes = kind(3, 1, (TARGET,)), encode_classes(model, tiny_class_tokens())
    of_others = model.encode_image(kind(2, 2, (0, 4)).images).detach()
    features = torch.cat([model.encode_image(images.images).detach()[:1], of_others, of_others])[:5]
    labels = torch.full((5,), TARGET)
    assert standing_out(features, classes, (TARGET,)) < 0
    wanted = handed_over(features, labels, classes, ((TARGET,),), 0.8)
    cosines = wanted @ classes.T
    others = cosines.index_fill(1, torch.tensor([TARGET]), -1.0).amax(dim=1)
    assert (cosines[:, TARGET] - others).max() < 1e-5
