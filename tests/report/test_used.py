import torch

from efface.data.holdout import EvalData
from efface.data.images import BadImages
from efface.report.used import data_used, left_out
from efface.types import TensorImages

LABELS = torch.tensor([0, 1, 1, 0])


def _source(*bad: int) -> EvalData:
    skipped = BadImages({row: f"row {row} cannot be decoded" for row in bad})
    return EvalData("here", TensorImages(torch.zeros(4, 3, 2, 2), LABELS), ("cat", "dog"), "00", {"by": "me"}, skipped)


def test_what_was_left_out_is_in_no_count() -> None:
    used = data_used(_source(2), ["cat"])
    assert (used.n, used.classes, used.skipped, used.lost) == (3, 2, ("row 2 cannot be decoded",), ())
    assert used.where == {"by": "me"}
    assert list(left_out(_source(2), ["cat"])) == ["1 of the 4 images of 'here' are left out; row 2 cannot be decoded"]


def test_a_split_is_lost_when_none_of_its_images_is_left() -> None:
    assert [data_used(_source(0, 3), names).lost for names in (["cat"], ["dog"], ["fox"], [])] == [
        ("forget",),
        ("retain",),
        (),
        (),
    ]
    told = list(left_out(_source(0, 3), ["dog"]))
    assert told[1] == "all images of other classes in 'here' are left out: nothing is measured on them"


def test_of_whole_data_nothing_is_said() -> None:
    assert list(left_out(_source(), ["cat"])) == []
    assert data_used(_source(), ["cat"]).manifest == data_used(_source(1), ["dog"]).manifest
