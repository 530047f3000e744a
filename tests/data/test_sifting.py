import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from efface.backends.base import LoadedCLIP
from efface.data import sifting
from efface.data.alike import Looks, Origin, looks
from efface.data.holdout import EvalData
from efface.data.own import open_own
from efface.data.sifted import LeakError, Part, Sifted
from efface.data.sifting import sift
from efface.data.symbols import open_symbols
from efface.errors import EffaceWarning, InputError
from efface.sifting import NearDuplicates, Sifting
from efface.types import ForgetData, Images, LabelledImages, Silent, TensorImages
from tests.data.test_alike import held, pictures, saved

TOKENS = torch.zeros((2, 1, 16), dtype=torch.int64)
DOG = {0: "dog", 1: "dog"}


@pytest.fixture(autouse=True)
def plain_eyes(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees a few colored cells: what it tells apart is known."""

    def cells(_: object, images: Images) -> Tensor:
        return F.normalize(F.adaptive_avg_pool2d(images, 4).flatten(1), dim=1)

    monkeypatch.setattr(type(clip.encoder), "encode_image", cells)


def given(**parts: Tensor) -> ForgetData:
    return ForgetData((0,), TOKENS, **{part: held(images) for part, images in parts.items()})  # type: ignore[arg-type]


def sifted(
    clip: LoadedCLIP,
    data: ForgetData,
    *held_out: EvalData,
    how: NearDuplicates = "refuse",
    drop_outliers: bool = False,
    origins: dict[Part, Origin] | None = None,
) -> tuple[ForgetData, dict[str, list[int]], Sifted]:
    asked = Sifting(how, drop_outliers)
    data, left, found = sift(clip.encoder, data, origins or {}, held_out, asked, DOG, Silent())
    return data, {part: rows.tolist() for part, rows in left.items()}, found


def some(*rows: int) -> Tensor:
    """Some of twelve pictures that have nothing in common, as the model takes them."""
    return (pictures(12, side=32) - 0.5)[list(rows)]


def test_what_is_apart_stays_as_it_is(clip: LoadedCLIP) -> None:
    data = given(forget=some(0, 1), retain=some(2, 3), calibration=some(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left, rows, found = sifted(clip, data, EvalData("here", held(some(5, 6)), ("dog",), "00"))
    assert all(getattr(left, part) is getattr(data, part) for part in ("forget", "retain", "calibration"))
    assert (left.calibration_forget, left.pool) == (None, None)
    assert rows == {"forget": [0, 1], "retain": [0, 1], "calibration": [0]}
    assert found == Sifted(compared={"forget": 2, "retain": 2, "calibration": 1})


def test_of_two_that_show_the_same_the_one_to_forget_stays_then_the_one_that_is_trained_on(clip: LoadedCLIP) -> None:
    data = given(forget=some(0, 1), retain=some(1, 2, 3), calibration_forget=some(4, 0), calibration=some(3, 4, 5, 6))
    with pytest.warns(EffaceWarning, match=r"4 near duplicates \(image 0 of retain shows the picture of image 1 of fo"):
        left, rows, found = sifted(clip, data)
    assert rows == {"forget": [0, 1], "retain": [1, 2], "calibration_forget": [0], "calibration": [2, 3]}
    assert left.forget is data.forget
    for part, kept in (("retain", some(2, 3)), ("calibration_forget", some(4)), ("calibration", some(5, 6))):
        assert torch.equal(getattr(left, part).images, kept)
        assert len(getattr(left, part).labels) == len(kept)
    assert [(one.part, one.of, one.exact, one.dropped) for one in found.duplicates] == [
        ("retain", "forget", True, True),
        ("calibration_forget", "forget", True, True),
        ("calibration", "retain", True, True),
        ("calibration", "calibration_forget", True, True),
    ]


def test_nothing_left_is_no_images_at_all(clip: LoadedCLIP) -> None:
    with pytest.warns(EffaceWarning, match="left out"):
        left, rows, _ = sifted(clip, given(forget=some(0, 1), retain=some(1, 0)))
    assert left.retain is None
    assert rows["retain"] == []


def test_all_may_be_kept(clip: LoadedCLIP) -> None:
    data = given(forget=some(0, 1), retain=some(1))
    with pytest.warns(EffaceWarning, match="kept all the same"):
        left, _, found = sifted(clip, data, how="allow")
    assert left.retain is data.retain
    assert [one.dropped for one in found.duplicates] == [False]


def photos(clip: LoadedCLIP, folder: Path, *rows: int) -> EvalData:
    """Some of twelve pictures, twice as large as the model takes them."""
    found = [to_pil_image(one).resize((64, 64)) for one in pictures(12, side=32)[list(rows)]]
    return open_own(str(saved(folder, found)), ["dog"], preprocess=clip.preprocess)


def taken(source: EvalData) -> Tensor:
    return torch.cat([images for images, _ in source.images.batches(9)])


def test_what_judges_is_refused_dropped_or_allowed(clip: LoadedCLIP, tmp_path: Path) -> None:
    mine, judging = photos(clip, tmp_path / "mine", 0, 1, 2), photos(clip, tmp_path / "judging", 4, 2, 5)
    data = ForgetData((0,), TOKENS, forget=held(taken(mine)), retain=held(taken(photos(clip, tmp_path / "more", 5, 6))))
    origins: dict[Part, Origin] = {"forget": Origin(mine, torch.arange(3))}
    with pytest.raises(LeakError, match=r"2 near duplicates \(the image '2.png' in '.*mine' shows .*'1.png'") as caught:
        sifted(clip, data, judging, origins=origins)
    assert "--near-duplicates drop" in caught.value.hint
    assert [(one.part, one.of) for one in caught.value.duplicates] == [
        ("forget", judging.source),
        ("retain", judging.source),
    ]
    with pytest.warns(EffaceWarning, match="left out of what is worked on"):
        left, rows, found = sifted(clip, data, judging, how="drop", origins=origins)
    assert rows == {"forget": [0, 1], "retain": [1]}
    assert isinstance(left.forget, TensorImages)
    assert isinstance(data.forget, TensorImages)
    assert torch.equal(left.forget.images, data.forget.images[:2])
    assert all(one.dropped for one in found.duplicates)
    with pytest.warns(EffaceWarning, match="figures may flatter"):
        left, _, found = sifted(clip, data, judging, how="allow", origins=origins)
    assert left.forget is data.forget
    assert [one.dropped for one in found.duplicates] == [False, False]


def test_a_class_must_have_an_image_left(clip: LoadedCLIP) -> None:
    judging = EvalData("here", held(some(0, 1)), ("dog",), "00")
    with (
        pytest.warns(EffaceWarning, match="left out"),
        pytest.raises(InputError, match="no image of 'dog' is left"),
    ):
        sifted(clip, given(forget=some(1, 0)), judging, how="drop")


def of_one_kind(count: int) -> Tensor:
    """Pictures that the model sees as nearly the same, though no two show the same."""
    rng = torch.Generator().manual_seed(5)
    return (
        0.5 * some(0)
        + 0.3 * (pictures(count, seed=9, side=32) - 0.5)
        + 0.01 * torch.randn((count, 3, 32, 32), generator=rng)
    )


def test_what_looks_like_none_of_its_class_is_named_and_dropped_if_asked(clip: LoadedCLIP) -> None:
    images = torch.cat([of_one_kind(20), some(7)])[torch.tensor([*range(4), 20, *range(4, 20)])]
    data = given(forget=images)
    data = replace(data, forget=TensorImages(images, torch.arange(21) % 2))
    with pytest.warns(EffaceWarning, match=r"1 image to forget may be of something else.*image 4 of forget; look"):
        left, _, found = sifted(clip, data)
    assert left.forget is data.forget
    (strange,) = found.outliers
    assert (strange.image, strange.name, strange.dropped) == ("image 4 of forget", "dog", False)
    assert strange.deviation > strange.limit > 3
    with pytest.warns(EffaceWarning, match="left out"):
        left, rows, found = sifted(clip, data, drop_outliers=True)
    assert rows["forget"] == [row for row in range(21) if row != 4]
    assert left.forget is not None
    assert left.forget.labels.tolist() == [row % 2 for row in rows["forget"]]
    assert found.outliers == (replace(strange, dropped=True),)


def test_signs_of_the_embedded_world_are_told_by_their_scenes_alone(
    clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, judging = (
        open_symbols(f"symbols:{split}", preprocess=clip.preprocess, where={"member": "knight", "color": "red"})
        for split in ("forget", "calibration")
    )
    images = taken(own)[:9]
    data = given(forget=images[:6], retain=images[4:])
    origins: dict[Part, Origin] = {"forget": Origin(own, torch.arange(6)), "retain": Origin(own, torch.arange(4, 9))}
    looked_at: list[LabelledImages] = []

    def noted(images: LabelledImages, *more: Any) -> Looks:
        looked_at.append(images)
        return looks(images, *more)

    monkeypatch.setattr(sifting, "looks", noted)
    with pytest.warns(EffaceWarning, match="2 near duplicates"):
        _, rows, found = sifted(clip, data, judging, origins=origins)
    assert rows["retain"] == [2, 3, 4]
    assert all(one.exact for one in found.duplicates)
    assert judging.images not in looked_at
