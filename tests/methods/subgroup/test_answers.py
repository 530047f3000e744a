"""When an image is still answered with its class."""

import dataclasses

import pytest
import torch

from efface.encoding import encode_classes
from efface.errors import InputError
from efface.methods.base import ForgetMethod
from efface.methods.subgroup import PAPER, Forget, Restore, Subgroup
from efface.methods.subgroup.answers import answered, meanings, share_left
from efface.testing import CLASSES, tiny_class_tokens, tiny_dual_encoder, tiny_images
from tests.methods.subgroup.material import TARGET, edit, material


def test_the_share_by_hand() -> None:
    labels, answers = torch.tensor([0, 0, 1, 1, 4]), torch.tensor([0, 1, 1, 2, 4])
    # By itself each is right or not: the first, the third and the last are.
    assert share_left(answers, labels, ()) == 0.6
    assert share_left(answers, labels, ((0,), (1,))) == 0.6
    # Where 0 and 1 mean the same the second is one of them too; where 2 does as well all are.
    assert share_left(answers, labels, ((0, 1),)) == 0.8
    assert share_left(answers, labels, ((0, 1, 2), (4,))) == 1.0


def test_targets_are_one_thing_where_nothing_else_is_said() -> None:
    data = dataclasses.replace(material(), targets=(TARGET, 4))
    assert meanings(data) == ((TARGET, 4),)
    assert meanings(dataclasses.replace(data, target_groups=((TARGET,), (4,)))) == ((TARGET,), (4,))


@pytest.mark.parametrize("method", [Subgroup(), PAPER, Forget(), Restore()])
def test_all_classes_as_one_thing_are_refused_with_a_hint(method: ForgetMethod) -> None:
    data = dataclasses.replace(material(), targets=tuple(range(CLASSES)))
    with pytest.raises(InputError, match=r"every class \(6 of 6\) is to be forgotten as one thing") as refused:
        edit(method, tiny_dual_encoder(), data)
    assert "ForgetData.target_groups" in refused.value.hint


def test_answers_come_with_their_labels_in_the_order_of_the_images() -> None:
    model, images = tiny_dual_encoder(), tiny_images(3, rng=torch.Generator().manual_seed(1))
    answers, labels = answered(model, encode_classes(model, tiny_class_tokens()), images, 4)
    assert torch.equal(labels, images.labels)
    assert torch.equal(answers, labels)
