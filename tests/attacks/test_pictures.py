from dataclasses import replace

import pytest
import torch

from efface.attacks.base import NotTried
from efface.attacks.pictures import pictures, rows_among
from efface.types import TensorImages
from tests.evaluation.test_features import data_of

AMONG = ("cat", "dog", "fox")


def test_classes_are_told_by_their_names_and_others_are_none() -> None:
    data = replace(data_of(6), class_names=("fox", "cow", "cat"))
    assert rows_among(data, AMONG).tolist() == [2, -1, 0, 2, -1, 0]


def test_images_of_the_classes_alone_are_drawn_each_once_with_their_labels() -> None:
    data = data_of(12)
    assert isinstance(data.images, TensorImages)
    found = pictures(data, AMONG, (0, 2), most=5, rng=torch.Generator().manual_seed(0))
    assert len(found) == 5
    assert set(found.labels.tolist()) <= {0, 2}
    places = [
        next(row for row, known in enumerate(data.images.images) if torch.equal(image, known)) for image in found.images
    ]
    assert len(set(places)) == 5
    assert data.images.labels[places].tolist() == found.labels.tolist()
    assert len(pictures(data, AMONG, (1,), most=99, rng=torch.Generator())) == 4


def test_where_there_is_none_it_says_of_what() -> None:
    data = replace(data_of(6), class_names=("fox", "cow", "cat"))
    with pytest.raises(NotTried, match="'made' has no image of 'dog'"):
        pictures(data, AMONG, (1,), most=5, rng=torch.Generator())
