import torch

from efface.evaluation.detail import PICTURE, Gathering, retrieved
from efface.evaluation.retrieval import DEPTH
from efface.types import PixelSpace

PIXELS = PixelSpace((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 128, 96)


def gathered(*targets: int) -> tuple[Gathering, torch.Tensor]:
    """Thirty grey images in batches of seven; image i is nearer to class 1 the larger i is, afterwards the smaller."""
    gathering = Gathering(torch.eye(2), targets, PIXELS, 33)
    levels = torch.arange(30) / 30
    for first in range(0, 30, 7):
        some = levels[first : first + 7]
        before = torch.stack([torch.full_like(some, 0.5), some], dim=1)
        after = torch.stack([torch.full_like(some, 0.5), 1 - some], dim=1)
        cosines = {"before": before, "both": after}
        images = PIXELS.normalize(some.view(-1, 1, 1, 1).expand(-1, 3, 128, 96))
        gathering.add(images, cosines, {pair: near.argmax(1) for pair, near in cosines.items()})  # type: ignore[arg-type,misc]
    return gathering, levels


def test_pictures_are_those_that_the_class_s_text_finds_before_and_after() -> None:
    gathering, levels = gathered(1)
    found = gathering.detail()
    assert found.nearest["before"].rows[1].tolist() == list(range(29, 29 - DEPTH, -1))
    assert found.nearest["both"].rows[1].tolist() == list(range(DEPTH))
    assert list(found.pictures) == [*range(DEPTH), *range(30 - DEPTH, 30)]
    for row, picture in found.pictures.items():
        assert picture.shape == (3, PICTURE, PICTURE * 96 // 128)
        torch.testing.assert_close(picture, levels[row].expand_as(picture))
    assert found.called["before"].tolist() == (levels > 0.5).int().tolist()


def test_without_a_forgotten_class_no_picture_is_kept() -> None:
    gathering, _ = gathered()
    assert gathering.detail().pictures == {}


def test_what_was_retrieved_says_where_its_picture_is() -> None:
    gathering, _ = gathered(1)
    detail = gathering.detail()
    labels = torch.arange(30) % 2
    found = list(retrieved("data", ("even", "odd"), labels, (1,), detail, first=100))
    assert [(r.when, r.rank) for r in found] == [(when, i + 1) for when in ("before", "after") for i in range(DEPTH)]
    rows = list(detail.pictures)
    assert all(rows[r.picture - 100] == r.row for r in found)
    assert (found[0].row, found[0].name, found[1].name, found[0].asked) == (29, "odd", "even", "odd")


def test_of_several_classes_each_text_shows_what_it_finds() -> None:
    gathering, _ = gathered(1, 0)
    detail = gathering.detail()
    found = list(retrieved("data", ("even", "odd"), torch.arange(30) % 2, (1, 0), detail, first=0))
    assert [(r.asked, r.when) for r in found[::DEPTH]] == [
        ("odd", "before"), ("odd", "after"), ("even", "before"), ("even", "after")
    ]  # fmt: skip
    # All images are as near to class 0: the first ten are kept.
    assert [r.row for r in found[2 * DEPTH : 3 * DEPTH]] == list(range(DEPTH))
    assert {r.row for r in found} == set(detail.pictures)


def test_an_image_that_did_not_come_keeps_its_place_in_the_source() -> None:
    gathering, _ = gathered(1)
    detail = gathering.detail(left_out=[0, 5, 31])
    assert detail.places.tolist() == [row for row in range(33) if row not in (0, 5, 31)]
    found = list(retrieved("data", ("even", "odd"), torch.arange(30) % 2, (1,), detail, first=0))
    assert [r.row for r in found if r.when == "after"] == detail.places[:DEPTH].tolist()
