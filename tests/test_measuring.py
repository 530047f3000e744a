import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import efface
from efface import measuring
from efface.backends.base import LoadedCLIP, digest
from efface.errors import InputError
from efface.evaluation.zero_shot import answer
from efface.measuring import Options
from efface.methods.lip import Lip
from efface.synthesis.ascent import GradientAscent
from tests.tiny_open_clip import RESNET, write_open_clip
from tests.worlds import NAMES, World

LIP = Lip(images=3, samples=2, max_rounds=2, learning_rate=1e-3)
QUICK = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)


def test_what_a_run_records_is_what_its_saved_model_measures_to_the_last_bit(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    templates = ("a photo of a {}.", "a drawing of a {}.")
    run = efface.forget(clip, "dog", among=NAMES, method=LIP, synthesizer=QUICK, data=[world.data], templates=templates)
    folder = run.save(tmp_path / "run")
    saved = efface.load(f"local-dir:{folder / 'model'}")
    assert run.clip is not None
    for name, tensor in run.clip.encoder.module.state_dict().items():
        assert torch.equal(tensor, saved.encoder.module.state_dict()[name]), name
    again = efface.evaluate(saved, against=clip, name="dog", data=[world.data], templates=templates)
    assert again.scores == run.record.scores
    assert again.classes == run.record.classes
    assert again.changes == run.record.changes
    assert again.weights == run.record.weights
    written = json.loads((folder / "record.json").read_text())
    assert written["scores"]["after"][0]["value"] == run.record.scores.after[0].value


def test_a_measurement_says_of_which_weights_it_is(clip: LoadedCLIP, world: World) -> None:
    alone = efface.evaluate(clip, data=[world.data])
    assert alone.model == world.model
    assert alone.against is None
    assert alone.weights.result == digest(clip.stored_state())
    assert alone.scores.before == ()
    assert (alone.precision, alone.templates) == ("float32", ("a photo of a {}.",))


def test_a_class_is_asked_for_by_all_of_its_texts(
    clip: LoadedCLIP, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(models: object, data: object, tokens: torch.Tensor, **more: object) -> object:
        asked.append(tokens)
        return answer(models, data, tokens, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "answer", spy)
    efface.evaluate(clip, data=[world.data], templates=["a {}", "one {} only"])
    assert torch.equal(asked[0], clip.class_tokens([[f"a {name}", f"one {name} only"] for name in NAMES]))


def test_workers_and_batch_size_change_no_score(clip: LoadedCLIP, world: World) -> None:
    found = [
        efface.evaluate(clip, data=[world.data], name="cat", options=Options(batch_size=size, workers=workers))
        for size, workers in ((256, 0), (5, 2))
    ]
    assert found[0] == found[1]


def test_a_class_that_no_source_has_is_refused(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(InputError, match="no source has an image of 'wolf'"):
        efface.evaluate(clip, data=[world.data], name="wolf")


def test_models_with_other_tensors_are_not_compared(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    other = efface.load(f"local-dir:{write_open_clip(tmp_path / 'other', RESNET)}")
    with pytest.raises(InputError, match="have different tensors"):
        efface.evaluate(other, against=clip, data=[world.data])


def test_a_class_that_is_named_but_has_no_image_is_refused(clip: LoadedCLIP, world: World) -> None:
    (source,) = measuring.open_all(clip, [world.data], Options())
    named = replace(source, class_names=(*source.class_names, "wolf"))
    with pytest.raises(InputError, match="no source has an image of 'wolf'"):
        efface.evaluate(clip, data=[named], name="wolf")


def test_models_that_read_images_differently_are_not_compared(clip: LoadedCLIP, world: World) -> None:
    encoder = replace(clip.encoder, pixels=replace(clip.encoder.pixels, mean=(0.0, 0.0, math.pi)))  # type: ignore[type-var]
    with pytest.raises(InputError, match="reads images by"):
        efface.evaluate(replace(clip, encoder=encoder), against=clip, data=[world.data])
