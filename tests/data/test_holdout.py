"""What an evaluation is given."""

import torch

from efface.data.holdout import EvalData
from efface.types import TensorImages

DATA = EvalData("here", TensorImages(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])), ("cat", "dog"), "00")


def test_a_class_is_found_by_its_name() -> None:
    assert [DATA.class_of(name) for name in DATA.class_names] == [0, 1]


def test_a_class_that_the_data_lack_has_no_label() -> None:
    assert DATA.class_of("Dog") is None


def test_a_class_may_have_a_name_and_no_image() -> None:
    named = EvalData("here", DATA.images, ("cat", "dog", "fox"), "00")
    assert [named.has_images_of(name) for name in ("cat", "fox", "wolf")] == [True, False, False]
