"""The user's own images, from where they are to what each is for."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from efface.backends.base import LoadedCLIP
from efface.beside import Beside
from efface.errors import EffaceWarning, InputError
from efface.giving import give, siblings_of
from efface.methods.projection import Projection
from efface.methods.subgroup import Subgroup
from efface.opening import Options, open_all
from efface.request import ClassTarget, ForgetRequest
from efface.sifting import Sifting
from tests.worlds import NAMES, World


def pictures(folder: Path, shade: int, count: int = 8) -> str:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (shade, i, 9)).save(folder / f"{i}.png")
    return str(folder)


def request(**beside: str) -> ForgetRequest:
    return ForgetRequest((ClassTarget("dog"),), NAMES, images="mine", beside=Beside(**beside))  # type: ignore[arg-type]


def test_a_folder_of_the_class_and_a_pool_are_enough(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    mine, any_images = pictures(tmp_path / "mine", 1), pictures(tmp_path / "any", 2)
    held_out = open_all(clip, [world.data], Options())
    given = {"forget": mine, "retain": None, "pool": any_images}
    opened, lots = give(clip, given, request(pool=any_images), Subgroup(), held_out, Options())
    assert set(opened) == {"forget", "pool"}
    assert {lot.role: len(lot.rows) for lot in lots} == {"forget": 7, "calibration_forget": 1, "pool": 8}


def test_what_a_method_may_be_handed_must_not_judge_it(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    pool = pictures(tmp_path / "any", 2)
    (tmp_path / "any" / "copy.png").write_bytes((Path(world.data) / "fox" / "1.png").read_bytes())
    held_out = open_all(clip, [world.data], Options())
    given = {"forget": pictures(tmp_path / "mine", 1), "pool": pool}
    with pytest.raises(InputError, match=r"1 image of .* byte for byte: .*copy\.png.* is .*fox/1\.png"):
        give(clip, given, request(pool=pool), Subgroup(), held_out, Options())


def test_a_method_without_a_use_for_images_refuses_them(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(InputError, match="projection asks for no such images") as caught:
        give(clip, {"retain": world.data}, request(retain=world.data), Projection(), [], Options())
    assert caught.value.hint.startswith("leave --retain-images out")


def test_copies_of_what_judges_are_no_reason_to_refuse_where_near_duplicates_are_left_out(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    pool = pictures(tmp_path / "any", 2)
    (tmp_path / "any" / "copy.png").write_bytes((Path(world.data) / "fox" / "1.png").read_bytes())
    held_out = open_all(clip, [world.data], Options())
    given = {"forget": pictures(tmp_path / "mine", 1), "pool": pool}
    _, lots = give(clip, given, replace(request(pool=pool), sifting=Sifting("drop")), Subgroup(), held_out, Options())
    assert {lot.role: len(lot.rows) for lot in lots}["pool"] == 9
    # A source that judges as a whole is no copy.
    with pytest.raises(InputError, match="holds the images that judge"):
        give(clip, {"forget": world.data}, replace(request(), sifting=Sifting("drop")), Subgroup(), held_out, Options())


def test_a_hierarchy_without_siblings_or_use_is_told(clip: LoadedCLIP) -> None:
    def grouped(**groups: str) -> ForgetRequest:
        return ForgetRequest((ClassTarget("dog"),), NAMES, beside=Beside(hierarchy=groups))

    with pytest.warns(EffaceWarning, match="the hierarchy has no group of dog"):
        give(clip, {}, grouped(cat="feline"), Subgroup(), [], Options())
    with pytest.warns(EffaceWarning, match="no other class of the request in the group of dog"):
        give(clip, {}, grouped(cat="feline", dog="canine"), Subgroup(), [], Options())
    with pytest.raises(InputError, match="projection asks for no images of siblings"):
        give(clip, {}, grouped(dog="canine", fox="canine"), Projection(), [], Options())


def test_siblings_are_those_of_the_hierarchy_or_all_of_few(clip: LoadedCLIP) -> None:
    assert set(siblings_of(clip, request())) == {"cat", "fox"}
    grouped = ForgetRequest((ClassTarget("dog"),), NAMES, beside=Beside(hierarchy={"dog": "canine", "fox": "canine"}))
    assert siblings_of(clip, grouped) == ("fox",)
