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
from efface.data.images import BadImages
from efface.data.own import open_own
from efface.data.sifted import LeakError, Part, Sifted
from efface.data.sifting import sift
from efface.data.symbols import open_symbols
from efface.errors import EffaceWarning, InputError
from efface.sifting import NearDuplicates, Sifting
from efface.types import Images, Silent
from tests.data.test_alike import held, pictures, saved, source


@pytest.fixture(autouse=True)
def plain_eyes(clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees a few colored cells: what it tells apart is known."""

    def cells(_: object, images: Images) -> Tensor:
        return F.normalize(F.adaptive_avg_pool2d(images, 4).flatten(1), dim=1)

    monkeypatch.setattr(type(clip.encoder), "encode_image", cells)


def given(**parts: Tensor) -> dict[Part, Origin]:
    return {part: origin(source(held(images), part)) for part, images in parts.items()}  # type: ignore[misc]


def origin(of: EvalData) -> Origin:
    return Origin(of, torch.arange(len(of.images)))


def sifted(
    clip: LoadedCLIP,
    parts: dict[Part, Origin],
    *held_out: EvalData,
    how: NearDuplicates = "refuse",
    drop_outliers: bool = False,
) -> tuple[dict[str, list[int]], Sifted]:
    of = ("forget", "calibration_forget")
    names: dict[Part, list[str]] = {part: ["dog"] * len(parts[part].rows) for part in parts if part in of}
    left, found = sift(clip.encoder, parts, names, held_out, Sifting(how, drop_outliers), Silent())
    return {part: places.tolist() for part, places in left.items()}, found


def some(*rows: int) -> Tensor:
    """Some of twelve pictures that have nothing in common, as the model takes them."""
    return (pictures(12, side=32) - 0.5)[list(rows)]


def test_what_is_apart_stays_as_it_is(clip: LoadedCLIP) -> None:
    parts = given(forget=some(0, 1), retain=some(2, 3), calibration=some(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left, found = sifted(clip, parts, source(held(some(5, 6))))
    assert left == {"forget": [0, 1], "retain": [0, 1], "calibration": [0]}
    assert found == Sifted(compared={"forget": 2, "retain": 2, "calibration": 1})


def test_of_two_that_show_the_same_the_one_to_forget_stays_then_the_one_that_is_trained_on(clip: LoadedCLIP) -> None:
    parts = given(forget=some(0, 1), retain=some(1, 2, 3), calibration_forget=some(4, 0), calibration=some(3, 4, 5, 6))
    with pytest.warns(EffaceWarning, match=r"4 near duplicates \(image 1 of calibration_forget shows"):
        left, found = sifted(clip, parts)
    assert left == {"forget": [0, 1], "retain": [1, 2], "calibration_forget": [0], "calibration": [2, 3]}
    assert [(one.part, one.of, one.exact, one.dropped) for one in found.duplicates] == [
        ("calibration_forget", "forget", True, True),
        ("retain", "forget", True, True),
        ("calibration", "calibration_forget", True, True),
        ("calibration", "retain", True, True),
    ]


def test_what_shows_an_image_to_forget_that_settings_are_chosen_by_is_none_to_stay(clip: LoadedCLIP) -> None:
    parts = given(forget=some(0), retain=some(1, 2), calibration_forget=some(1))
    with pytest.warns(EffaceWarning, match="image 0 of retain shows the picture of image 0 of calibration_forget"):
        left, _ = sifted(clip, parts)
    assert left == {"forget": [0], "calibration_forget": [0], "retain": [1]}


def test_a_pool_shows_each_picture_once(clip: LoadedCLIP) -> None:
    with pytest.warns(EffaceWarning, match="image 2 of pool shows the picture of image 0 of pool"):
        left, found = sifted(clip, given(forget=some(0), pool=some(1, 2, 1, 0, 3, 1)))
    assert left["pool"] == [0, 1, 4]
    assert [one.of for one in found.duplicates] == ["forget", "pool", "pool"]


def test_what_is_put_aside_is_looked_at_for_outliers_with_the_rest(clip: LoadedCLIP) -> None:
    alike = some(*[0] * 30) + 0.02 * torch.randn(30, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    parts = given(forget=alike[:24], calibration_forget=torch.cat([alike[24:], some(7)]))
    with pytest.warns(EffaceWarning):
        left, found = sifted(clip, parts, how="allow", drop_outliers=True)
    assert left == {"forget": list(range(24)), "calibration_forget": list(range(6))}
    assert [(one.image, one.dropped) for one in found.outliers] == [("image 6 of calibration_forget", True)]


@pytest.mark.parametrize("part", ["retain", "pool"])
def test_what_is_given_to_hold_on_to_must_have_an_image_left(clip: LoadedCLIP, part: str) -> None:
    with (
        pytest.warns(EffaceWarning, match="left out"),
        pytest.raises(InputError, match=f"none of the images of '{part}' is left"),
    ):
        sifted(clip, given(forget=some(0, 1), **{part: some(1, 0)}))


def test_no_image_to_choose_by_may_be_left(clip: LoadedCLIP) -> None:
    with pytest.warns(EffaceWarning, match="left out"):
        left, _ = sifted(clip, given(forget=some(0, 1), calibration=some(1, 0)))
    assert left["calibration"] == []


def test_all_may_be_kept(clip: LoadedCLIP) -> None:
    with pytest.warns(EffaceWarning, match="kept all the same"):
        left, found = sifted(clip, given(forget=some(0, 1), retain=some(1)), how="allow")
    assert left["retain"] == [0]
    assert [one.dropped for one in found.duplicates] == [False]


def photos(clip: LoadedCLIP, folder: Path, *rows: int, skipped: BadImages | None = None) -> EvalData:
    """Some of twelve pictures, twice as large as the model takes them."""
    found = [to_pil_image(one).resize((64, 64)) for one in pictures(12, side=32)[list(rows)]]
    return open_own(str(saved(folder, found)), ["dog"], preprocess=clip.preprocess, skipped=skipped)


def test_what_judges_is_refused_dropped_or_allowed(clip: LoadedCLIP, tmp_path: Path) -> None:
    judging = photos(clip, tmp_path / "judging", 4, 2, 5)
    parts: dict[Part, Origin] = {
        "forget": origin(photos(clip, tmp_path / "mine", 0, 1, 2)),
        "retain": origin(photos(clip, tmp_path / "more", 5, 6)),
    }
    with pytest.raises(LeakError, match=r"2 near duplicates \(the image '2.png' in '.*mine' shows .*'1.png'") as caught:
        sifted(clip, parts, judging)
    assert "--near-duplicates drop" in caught.value.hint
    assert [(one.part, one.of) for one in caught.value.duplicates] == [
        ("forget", judging.source),
        ("retain", judging.source),
    ]
    with pytest.warns(EffaceWarning, match="left out of what is worked on"):
        left, found = sifted(clip, parts, judging, how="drop")
    assert left == {"forget": [0, 1], "retain": [1]}
    assert all(one.dropped for one in found.duplicates)
    with pytest.warns(EffaceWarning, match="figures may flatter"):
        left, found = sifted(clip, parts, judging, how="allow")
    assert left == {"forget": [0, 1, 2], "retain": [0, 1]}
    assert [one.dropped for one in found.duplicates] == [False, False]


def test_places_are_those_of_the_images_that_were_given(clip: LoadedCLIP, tmp_path: Path) -> None:
    mine = photos(clip, tmp_path / "mine", 0, 1, 2, 3, skipped=BadImages())
    (tmp_path / "mine" / "0.png").write_bytes(b"no image")
    parts: dict[Part, Origin] = {"forget": Origin(mine, torch.tensor([3, 0, 2, 1]))}
    with pytest.warns(EffaceWarning, match="'2.png'"):
        left, found = sifted(clip, parts, photos(clip, tmp_path / "judging", 2), how="drop")
    # What cannot be decoded is counted and named elsewhere.
    assert left == {"forget": [0, 1, 3]}
    assert found.compared == {"forget": 3}


def test_a_class_must_have_an_image_left(clip: LoadedCLIP) -> None:
    judging = source(held(some(0, 1)))
    with (
        pytest.warns(EffaceWarning, match="left out"),
        pytest.raises(InputError, match="no image of 'dog' is left"),
    ):
        sifted(clip, given(forget=some(1, 0)), judging, how="drop")


def test_what_looks_like_none_of_its_class_is_named_and_dropped_if_asked(clip: LoadedCLIP) -> None:
    # Nearly the same to the model, though no two show the same.
    alike = 0.5 * some(0) + 0.3 * (pictures(20, seed=9, side=32) - 0.5)
    parts = given(forget=torch.cat([alike[:4], some(7), alike[4:]]))
    with pytest.warns(EffaceWarning, match=r"1 image to forget may be of something else.*image 4 of forget; look"):
        left, found = sifted(clip, parts)
    assert left["forget"] == list(range(21))
    (strange,) = found.outliers
    assert (strange.image, strange.name, strange.dropped) == ("image 4 of forget", "dog", False)
    assert strange.deviation > strange.limit > 3
    with pytest.warns(EffaceWarning, match="left out"):
        left, found = sifted(clip, parts, drop_outliers=True)
    assert left["forget"] == [place for place in range(21) if place != 4]
    assert found.outliers == (replace(strange, dropped=True),)


def test_signs_of_the_embedded_world_are_told_by_their_scenes_alone(
    clip: LoadedCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, judging = (
        open_symbols(f"symbols:{split}", preprocess=clip.preprocess, where={"member": "knight", "color": "red"})
        for split in ("forget", "calibration")
    )
    parts: dict[Part, Origin] = {"forget": Origin(own, torch.arange(6)), "retain": Origin(own, torch.arange(4, 9))}
    looked_at: list[str] = []

    def noted(of: EvalData, *more: Any) -> Looks:
        looked_at.append(of.source)
        return looks(of, *more)

    monkeypatch.setattr(sifting, "looks", noted)
    with pytest.warns(EffaceWarning, match="2 near duplicates"):
        left, found = sifted(clip, parts, judging)
    assert left["retain"] == [2, 3, 4]
    assert all(one.exact for one in found.duplicates)
    assert judging.source not in looked_at
