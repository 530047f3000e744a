"""Images of one kind within a class, told apart by what a source knows of its images."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.functional import to_tensor

from efface.data.holdout import EvalData
from efface.data.kinds import KeptColumns, check_has, judging_kind, of_classes_so, of_kind
from efface.data.symbols import open_symbols
from efface.errors import InputError
from efface.types import TensorImages

# Two dogs of which one is brown, two cats of which one is, and a fox that is not.
LABELS = torch.tensor([0, 0, 1, 1, 2])
COLUMNS: dict[str, list[object]] = {"color": ["brown", "gray", "brown", "gray", "red"], "age": [3, 4, 3, 3, 4]}


def animals(**more: object) -> EvalData:
    images = TensorImages(torch.zeros(5, 3, 2, 2), LABELS)
    return EvalData("zoo", images, ("dog", "cat", "fox"), "0" * 64, columns=COLUMNS, **more)  # type: ignore[arg-type]


def test_of_a_class_those_of_the_kind_are_to_be_forgotten_and_all_stay_in_the_source() -> None:
    brown = of_kind(animals(), {"color": "brown"})
    assert brown.to_forget(["dog"]).tolist() == [True, False, False, False, False]
    assert brown.to_forget(["dog", "cat"]).tolist() == [True, False, True, False, False]
    assert brown.of_classes(["dog"]).tolist() == [True, True, False, False, False]
    assert len(brown.images) == 5
    assert not brown.has_images_of("fox")
    # What is asked for holds at once, numbers are compared as they are written, and every source has its classes.
    assert of_kind(animals(), {"color": "gray", "age": "3"}).to_forget(["cat"]).tolist() == [False] * 3 + [True, False]
    assert of_kind(animals(), {"class": "cat"}).to_forget(["dog", "cat"]).tolist() == [False, False, True, True, False]
    assert of_kind(animals(), {}).kind is None
    assert of_classes_so(brown) == ("dog", "cat")


def test_a_column_that_is_not_there_matters_where_the_class_is() -> None:
    with pytest.raises(InputError, match="'zoo' has no column 'colour'") as caught:
        of_kind(animals(), {"colour": "brown"})
    assert caught.value.hint == "did you mean color?"
    with pytest.raises(InputError, match="no column"):
        judging_kind(animals(), ["dog"], {"camera": "phone"})
    assert judging_kind(animals(), ["owl"], {"camera": "phone"}).kind is None
    with pytest.raises(InputError, match="'zoo' has no columns"):
        judging_kind(replace(animals(), columns={}), ["dog"], {"camera": "phone"})


def test_a_kind_that_no_image_of_the_class_is_of_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match="no image of 'fox' in 'zoo' has color=brown") as caught:
        check_has(of_kind(animals(), {"color": "brown"}), "fox")
    assert caught.value.hint == "there are red"
    with pytest.raises(InputError, match=r"no image of 'dog' in 'zoo' is all of \{'color': 'brown', 'age': '4'\}"):
        check_has(of_kind(animals(), {"color": "brown", "age": "4"}), "dog")
    with pytest.raises(InputError, match="'zoo' has no image of 'dgo'") as caught:
        check_has(animals(), "dgo")
    assert caught.value.hint == "did you mean dog?"


def test_columns_of_some_rows_are_those_of_these_rows() -> None:
    kept = KeptColumns(COLUMNS, (4, 0))
    assert dict(kept) == {"color": ["red", "brown"], "age": [4, 3]}
    assert len(kept) == 2


def test_a_kind_of_signs_is_what_choosing_by_it_keeps() -> None:
    where = {"design": "notation", "color": "red"}
    chosen = open_symbols("symbols:validation", preprocess=to_tensor, where={"member": "knight", **where})
    told = of_kind(open_symbols("symbols:validation", preprocess=to_tensor), where)
    assert int(told.to_forget(["knight"]).sum()) == len(chosen.images) > 0
