import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import efface
from efface import measuring
from efface.backends.base import LoadedCLIP, digest
from efface.errors import EffaceError, EffaceWarning, InputError
from efface.evaluation.zero_shot import Answers, answer
from efface.measuring import Options
from efface.methods.lip import Lip
from efface.opening import open_all
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


def test_a_limit_of_memory_holds_while_a_model_is_measured(
    clip: LoadedCLIP, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    @contextmanager
    def limited(device: torch.device, limit: int | None) -> Iterator[None]:
        told.append((str(device), limit))
        yield
        told.append("over")

    def spy(*given: Any, **more: Any) -> Answers:
        told.append("measured")
        return answer(*given, **more)

    monkeypatch.setattr(measuring, "answer", spy)
    monkeypatch.setattr(measuring, "limited", limited)
    efface.evaluate(clip, data=[world.data], options=Options(max_memory=10**12))
    assert told == [("cpu", 10**12), "measured", "over"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_no_number_of_bytes_is_refused_before_any_work(limit: int) -> None:
    with pytest.raises(InputError, match=f"the limit of memory is {limit!r}"):
        Options(max_memory=limit)


def _die(_: object) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_where_a_worker_is_killed_it_says_so(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(EffaceError, match="a process that decodes images was ended from outside"):
        efface.evaluate(replace(clip, preprocess=_die), data=[world.data], options=Options(workers=1))


def test_several_classes_are_one_forget_split(clip: LoadedCLIP, world: World) -> None:
    found = efface.evaluate(clip, data=[world.data], name=["dog", "fox"])
    assert (found.name, found.names) == ("dog", ("dog", "fox"))
    assert {(s.split, s.n) for s in found.scores.after if s.metric == "acc1"} == {
        ("forget", 8),
        ("retain", 4),
        ("all", 12),
    }
    assert [c.split for c in found.classes.after] == ["retain", "forget", "forget"]
    with pytest.raises(InputError, match="the class 'dog' is given twice"):
        efface.evaluate(clip, data=[world.data], name=["dog", "dog"])


def test_a_class_that_no_source_has_is_refused(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(InputError, match="no source has an image of 'wolf'"):
        efface.evaluate(clip, data=[world.data], name="wolf")


def test_models_with_other_tensors_are_not_compared(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    other = efface.load(f"local-dir:{write_open_clip(tmp_path / 'other', RESNET)}")
    with pytest.raises(InputError, match="have different tensors"):
        efface.evaluate(other, against=clip, data=[world.data])


def test_a_class_that_is_named_but_has_no_image_is_refused(clip: LoadedCLIP, world: World) -> None:
    (source,) = open_all(clip, [world.data], Options())
    named = replace(source, class_names=(*source.class_names, "wolf"))
    with pytest.raises(InputError, match="no source has an image of 'wolf'"):
        efface.evaluate(clip, data=[named], name="wolf")


def test_models_that_read_images_differently_are_not_compared(clip: LoadedCLIP, world: World) -> None:
    encoder = replace(clip.encoder, pixels=replace(clip.encoder.pixels, mean=(0.0, 0.0, math.pi)))  # type: ignore[type-var]
    with pytest.raises(InputError, match="reads images by"):
        efface.evaluate(replace(clip, encoder=encoder), against=clip, data=[world.data])


def _with_a_broken_image(world: World, folder: Path) -> Path:
    pictures = shutil.copytree(world.data, folder / "pictures")
    (pictures / "dog" / "2.png").write_bytes(b"broken")
    return pictures


def test_a_bad_image_stops_the_run_and_is_named(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the image 'dog/2.png' in .* cannot be decoded"):
        efface.evaluate(clip, data=[str(_with_a_broken_image(world, tmp_path))])


def test_a_skipped_image_is_counted_and_in_no_figure(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    pictures = _with_a_broken_image(world, tmp_path)
    with pytest.warns(EffaceWarning, match=r"1 of the 12 images of .* are left out; the image 'dog/2.png'"):
        found = efface.evaluate(clip, data=[str(pictures)], name="dog", options=Options(on_bad_image="skip"))
    (used,) = found.data
    assert used.n == 11
    assert len(used.skipped) == 1
    assert "dog/2.png" in used.skipped[0]
    of_images = {(s.split, s.n) for s in found.scores.after if "retrieval" not in s.metric}
    assert of_images == {("forget", 3), ("retain", 8), ("all", 11)}
    (pictures / "dog" / "2.png").unlink()
    without = efface.evaluate(clip, data=[str(pictures)], name="dog")
    assert found.scores == without.scores
    assert found.classes == without.classes


def test_a_class_of_which_no_image_can_be_decoded_is_not_measured(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    pictures = shutil.copytree(world.data, tmp_path / "pictures")
    for image in (pictures / "dog").iterdir():
        image.write_bytes(b"broken")
    options = Options(on_bad_image="skip")
    with (
        pytest.warns(EffaceWarning, match="4 of the 12 images of"),
        pytest.warns(EffaceWarning, match="all images of dog in .* are left out: nothing is measured on them"),
        pytest.raises(InputError, match="no image of 'dog' can be decoded"),
    ):
        efface.evaluate(clip, data=[str(pictures)], name="dog", options=options)
    with pytest.warns(EffaceWarning, match="4 of the 12"), pytest.warns(EffaceWarning, match="all images of dog in"):
        both = efface.evaluate(clip, data=[str(pictures), world.data], name="dog", options=options)
    assert [used.lost for used in both.data] == [("forget",), ()]


def test_where_no_image_can_be_decoded_nothing_is_measured(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"no image of .* can be decoded"):
        efface.evaluate(clip, data=[str(tmp_path)], options=Options(on_bad_image="skip"))


def test_only_the_images_that_were_asked_for_count(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        shutil.copytree(world.data, tmp_path / domain)
    (tmp_path / "photo" / "dog" / "0.png").unlink()
    source = f"domains:{tmp_path}"
    sketch = efface.evaluate(clip, data=[source], options=Options(where={"domain": "sketch"}))
    assert [(used.n, used.where) for used in sketch.data] == [(12, {"domain": "sketch"})]
    assert [s.value for s in sketch.scores.after] == [
        s.value for s in efface.evaluate(clip, data=[world.data]).scores.after
    ]
    assert efface.evaluate(clip, data=[source]).data[0].n == 23


def test_of_a_class_the_kind_that_was_to_go_and_its_siblings_are_measured_apart(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    for domain in ("photo", "sketch"):
        shutil.copytree(world.data, tmp_path / domain)
    (tmp_path / "photo" / "dog" / "0.png").unlink()
    source, where = f"domains:{tmp_path}", {"domain": "photo"}
    found = efface.evaluate(clip, data=[source], name="dog", forget_where=where)
    counts = {score.split: score.n for score in found.scores.after if score.metric == "acc1"}
    assert counts == {"forget": 3, "siblings": 4, "retain": 16, "all": 23}
    assert found.label == "dog (domain photo)"
    assert found.data[0].forget_where == where
    # Without a class, of every class that has such images.
    every = efface.evaluate(clip, data=[source], forget_where=where)
    assert every.names == ("cat", "dog", "fox")
    assert {s.split: s.n for s in every.scores.after if s.metric == "acc1"} == {"forget": 11, "siblings": 12, "all": 23}
    with pytest.raises(InputError, match=r"no image of 'dog' in .* has domain=photograph"):
        efface.evaluate(clip, data=[source], name="dog", forget_where={"domain": "photograph"})


def test_a_comparison_without_a_class_warns_that_there_is_no_forget_split(clip: LoadedCLIP, world: World) -> None:
    with pytest.warns(EffaceWarning, match="there is no forget split"):
        found = efface.evaluate(clip, data=[world.data], against=clip)
    assert {score.split for score in found.scores.after} == {"all"}


def test_gold_stands_beside_a_comparison_alone(clip: LoadedCLIP, world: World) -> None:
    found = measuring.evaluate(clip, data=[world.data], against=clip, gold=clip, name="dog")
    assert found.gold == found.scores.before
    assert [one.gold_distance for one in found.summaries] == [0.0] * len(found.summaries)
    with pytest.raises(InputError, match="gold stands beside a comparison") as caught:
        measuring.evaluate(clip, data=[world.data], gold=clip, name="dog")
    assert "--against" in caught.value.hint
