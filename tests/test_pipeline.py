import dataclasses
import json
from pathlib import Path

import pytest
import torch

import efface
from efface.backends.base import LoadedCLIP, digest
from efface.errors import InputError
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.pipeline import Options, stream
from efface.synthesis.ascent import GradientAscent
from tests.worlds import NAMES, World, write_world

LIP = Lip(images=3, samples=2, max_rounds=2, learning_rate=1e-3)
QUICK = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def clip(world: World) -> LoadedCLIP:
    return efface.load(world.model)


def forget(clip: LoadedCLIP, world: World, seed: int = 0) -> efface.Run:
    return efface.forget(clip, "dog", among=NAMES, method=LIP, synthesizer=QUICK, data=[world.data], seed=seed)


def test_a_run_edits_a_copy_and_records_what_changed(clip: LoadedCLIP, world: World) -> None:
    before = clip.stored_state()
    run = forget(clip, world)
    assert run.clip is not None
    assert digest(clip.stored_state()) == digest(before) == run.record.weights.base
    after = run.clip.stored_state()
    assert digest(after) == run.record.weights.result
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(run.record.weights.changed)
    assert changed == set(run.record.trace.steps[-1]["tensors"])  # type: ignore[arg-type]


def test_scores_stand_before_and_after_and_with_mixed_towers(clip: LoadedCLIP, world: World) -> None:
    record = forget(clip, world).record
    assert {(s.split, s.towers) for s in record.scores.before} == {(s, "both") for s in ("forget", "retain", "all")}
    assert {s.towers for s in record.scores.after} == {"both", "image", "text"}
    assert {s.n for s in record.scores.after if s.split == "forget"} == {4}
    assert [(d.n, d.classes) for d in record.data] == [(12, 3)]
    for change in record.changes:
        key = (change.data, change.split, change.metric)
        (old,) = (s for s in record.scores.before if (s.data, s.split, s.metric) == key)
        (new,) = (s for s in record.scores.after if (s.data, s.split, s.metric, s.towers) == (*key, change.towers))
        assert change.value == pytest.approx(new.value - old.value)


def test_scores_are_those_of_the_saved_model(clip: LoadedCLIP, world: World, tmp_path: Path) -> None:
    run = forget(clip, world)
    folder = run.save(tmp_path / "run")
    again = efface.evaluate(efface.load(f"local-dir:{folder / 'model'}"), against=clip, name="dog", data=[world.data])
    assert again.scores == run.record.scores
    assert again.classes == run.record.classes
    saved = json.loads((folder / "record.json").read_text())
    assert saved["scores"]["after"][0]["value"] == run.record.scores.after[0].value


def test_the_same_seed_gives_the_same_weights_and_images_and_another_does_not(clip: LoadedCLIP, world: World) -> None:
    torch.manual_seed(1)
    first = forget(clip, world)
    torch.manual_seed(2)
    second, other = forget(clip, world), forget(clip, world, seed=1)
    assert first.record.weights == second.record.weights
    assert first.record.scores == second.record.scores
    assert first.record.changes == second.record.changes
    assert first.synthetic is not None
    assert second.synthetic is not None
    assert torch.equal(first.synthetic, second.synthetic)
    assert first.record.weights.result != other.record.weights.result


def test_workers_and_batch_size_change_no_score(clip: LoadedCLIP, world: World) -> None:
    found = [
        efface.evaluate(clip, data=[world.data], name="cat", options=Options(batch_size=size, workers=workers))
        for size, workers in ((256, 0), (5, 2))
    ]
    assert found[0] == found[1]


def test_a_class_whose_images_are_not_accepted_is_reported_and_no_model_is_made(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    hopeless = GradientAscent(iterations=1, threshold=0.99, threshold_decay=0.0, acceptance_scale=1e-3, max_failures=3)
    run = efface.forget(clip, "dog", among=NAMES, method=LIP, synthesizer=hopeless, data=[world.data])
    assert run.clip is None
    assert not run.record.reached
    assert run.record.reason.startswith("0 of 3 images were accepted in 3 attempts")
    assert run.record.weights.result is None
    assert run.record.scores.before
    assert not run.record.scores.after
    assert not (run.save(tmp_path / "run") / "model").exists()


def test_a_method_that_needs_no_images_makes_none(clip: LoadedCLIP, world: World) -> None:
    run = efface.forget(clip, "dog", among=NAMES, method="projection", data=[world.data])
    assert run.synthetic is None
    assert run.record.synthesis is None
    assert run.record.weights.changed == ("visual.proj",)
    assert run.record.settings == dataclasses.asdict(Projection())


def test_a_run_without_data_measures_nothing(clip: LoadedCLIP) -> None:
    run = efface.forget(clip, "dog", among=NAMES, method="projection")
    assert run.record.scores.after == ()
    assert run.record.reached


def test_a_class_that_is_not_among_the_names_is_refused(clip: LoadedCLIP) -> None:
    with pytest.raises(InputError, match="'dig' is not among"):
        efface.forget(clip, "dig", among=NAMES)


def test_an_evaluation_of_a_class_that_no_source_has_is_refused(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(InputError, match="no source has the class 'wolf'"):
        efface.evaluate(clip, data=[world.data], name="wolf")


def test_streams_of_random_numbers_differ_by_purpose_and_seed() -> None:
    drawn = {torch.rand(1, generator=stream(seed, purpose)).item() for seed in (0, 1) for purpose in ("a", "b")}
    assert len(drawn) == 4
    assert torch.equal(torch.rand(3, generator=stream(5, "a")), torch.rand(3, generator=stream(5, "a")))


def test_every_public_name_loads() -> None:
    assert all(getattr(efface, name) is not None for name in efface.__all__)
