import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import efface
from efface.backends.base import LoadedCLIP
from efface.data.sources import open_source
from efface.demo import SETTINGS
from efface.errors import EffaceWarning, InputError
from efface.export.folder import model_source
from efface.functional.metrics import paired_change
from efface.measuring import Options
from efface.symbols.catalogue import MEMBERS
from efface.verifying.check import check, smallest_rise
from tests.tiny_open_clip import RESNET, write_open_clip
from tests.verifying.descendants import fine_tuned
from tests.verifying.runs import flip, write_run_without_dogs
from tests.worlds import NAMES, World


@pytest.fixture(scope="module")
def dogs_forgotten(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_without_dogs(clip, world, tmp_path_factory.mktemp("forgotten"))


def test_the_result_itself_passes(dogs_forgotten: Path) -> None:
    found = check(model_source(dogs_forgotten), dogs_forgotten, notice=0.75)
    assert not found.back
    assert {case.untold for case in found.cases} == {""}
    assert [case.towers for case in found.cases] == ["both", "image", "text"]
    assert {(case.rise, case.n) for case in found.cases} == {(0.0, 4)}


def test_a_descendant_that_was_trained_on_the_class_again_fails(
    clip: LoadedCLIP, dogs_forgotten: Path, world: World, tmp_path: Path
) -> None:
    images = open_source(world.data, preprocess=clip.preprocess).images
    model = fine_tuned(dogs_forgotten, images, NAMES, tmp_path / "again", steps=60)
    found = check(model, dogs_forgotten)
    assert found.back
    of = {case.towers: case for case in found.cases}
    # Its texts are the result's, so that the image tower alone is told from both.
    assert of["image"].back
    assert not of["text"].back
    assert (of["image"].low > found.margin, of["image"].descendant) == (True, 1.0)
    document = json.loads(found.to_json())
    assert (document["back"], document["target"], len(document["cases"])) == (True, "dog", 3)


def test_of_several_classes_each_is_compared_by_itself(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    run = efface.forget(clip, ["fox", "dog"], among=NAMES, method=efface.Projection(ridge=0.01), data=[world.data])
    folder = run.save(tmp_path / "run")
    found = check(model_source(folder), folder, margin=0.0, notice=1.0)
    assert found.target == "fox and dog"
    assert [(case.name, case.n, case.back) for case in found.cases] == [("fox", 4, False)] * 3 + [("dog", 4, False)] * 3


def test_images_that_are_too_few_to_tell_anything_are_refused(dogs_forgotten: Path) -> None:
    with pytest.raises(InputError, match="of 'dog': 4 images are too few: no rise of"):
        check(model_source(dogs_forgotten), dogs_forgotten, margin=0.9, notice=1.0)
    with pytest.raises(InputError, match=r"4 images are too few: no rise of 50\.0 points would be called a return"):
        check(model_source(dogs_forgotten), dogs_forgotten)


def test_a_margin_that_leaves_nothing_to_notice_is_refused(dogs_forgotten: Path) -> None:
    with pytest.raises(InputError, match=r"no rise of 50\.0 points lies above a margin of 90\.0"):
        check(model_source(dogs_forgotten), dogs_forgotten, margin=0.9)


def test_images_that_the_result_has_right_are_not_called_too_few(
    dogs_forgotten: Path, world: World, tmp_path: Path
) -> None:
    # Of one class alone every model has all images right.
    folder = tmp_path / "one" / "dog"
    folder.mkdir(parents=True)
    for shade in range(12):
        Image.new("RGB", (8, 8), (20 * shade,) * 3).save(folder / f"{shade}.png")
    alone = str(folder.parent)
    with pytest.raises(InputError, match=r"the result has 100\.0 % of the 12 images right: no rise of"):
        check(model_source(dogs_forgotten), dogs_forgotten, data=[alone])
    found = check(model_source(dogs_forgotten), dogs_forgotten, data=[alone, world.data], notice=0.75)
    told = {(case.data == alone, bool(case.untold), case.smallest is None) for case in found.cases}
    assert told == {(True, True, True), (False, False, False)}
    assert json.loads(found.to_json())["cases"][0]["smallest"] is None


def test_a_run_that_was_changed_judges_nothing(run: Path) -> None:
    (weights,) = (run / "model").glob("*.safetensors")
    flip(weights, weights.stat().st_size - 3)
    with pytest.raises(InputError, match="is not that of its record"):
        check(model_source(run), run)


def test_images_that_were_changed_are_refused_and_others_can_be_given(run: Path, world: World) -> None:
    flip(run.parent / "pictures" / "dog" / "1.png", 200)
    with pytest.raises(InputError, match="the run's images cannot be used"):
        check(model_source(run), run)
    assert check(model_source(run), run, data=[world.data], notice=1.0).cases[0].data == world.data


def test_the_images_are_those_that_the_run_chose_and_could_decode(some: Path) -> None:
    with pytest.warns(EffaceWarning, match="1 of the 12 images"):
        assert {case.n for case in check(model_source(some), some, margin=0.02, notice=1.0).cases} == {3}
    options = Options(where={"domain": "photo"})
    found = check(model_source(some), some, data=[f"domains:{some.parent / 'pictures'}"], options=options, notice=1.0)
    assert {case.n for case in found.cases} == {4}
    with pytest.raises(InputError, match="--where"):
        check(model_source(some), some, options=options)


def test_a_model_of_another_kind_cannot_be_compared(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"have different tensors|reads images by"):
        check(f"local-dir:{write_open_clip(tmp_path / 'other', RESNET)}", whole)


@settings(max_examples=30)
@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 0.3))
def test_the_smallest_rise_is_the_first_that_is_told(n: int, share: float, margin: float) -> None:
    right = int(share * n)
    told = [
        k
        for k in range(n - right + 1)
        if paired_change(torch.arange(n) < right, torch.arange(n) < right + k)[1] > margin
    ]
    assert smallest_rise(right, n, margin) == (told[0] / n if told else None)


@pytest.mark.slow
def test_a_forgotten_knight_that_was_trained_again_is_found(tmp_path: Path) -> None:
    clip = efface.load("builtin:symbols-rn")
    knights = ["symbols:test"]
    run = efface.forget(clip, "knight", among=MEMBERS, method=SETTINGS["projection"], data=knights).save(
        tmp_path / "run"
    )
    assert not check(model_source(run), run).back
    images = open_source("symbols:calibration", preprocess=clip.preprocess).images
    assert check(fine_tuned(run, images, MEMBERS, tmp_path / "again", steps=2), run).back
