import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

import efface
from efface import checkpoints, fitting, measuring, synthesis
from efface.backends.base import LoadedCLIP, digest
from efface.backends.open_clip import OpenCLIPEncoder
from efface.checkpoint_files import has_checkpoints
from efface.errors import EffaceWarning, InputError
from efface.evaluation import zero_shot
from efface.measuring import Options
from efface.methods import reassign, words
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.methods.reassign import Reassign
from efface.report.document import read
from efface.synthesis.ascent import GradientAscent
from efface.synthesis.batch import BatchAscent
from efface.types import DualEncoder, Embeddings, ForgetData, Images, Needs, Reporter, Trace
from efface.verifying.consistency import inconsistencies
from efface.verifying.particulars import contradictions
from tests.worlds import NAMES, World

LIP = Lip(images=3, samples=2, max_rounds=2, learning_rate=1e-3)
GUARDED = Reassign(
    images=3, guard_images=5, leaves=8, copies=1, steps=5, batch_size=4, guard_batch_size=4, text_steps=4
)
QUICK = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)
SCARCE_SEED = 0


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


def test_workers_change_nothing_that_is_recorded(clip: LoadedCLIP, world: World) -> None:
    found = [
        efface.forget(
            clip,
            "dog",
            among=NAMES,
            method=LIP,
            synthesizer=QUICK,
            data=[world.data],
            options=Options(batch_size=5, workers=workers),
        )
        for workers in (0, 2)
    ]
    may_differ = {"created", "timing", "seconds", "peak_memory_bytes"}
    one, other = (dataclasses.asdict(run.record) for run in found)
    assert {name for name in one if one[name] != other[name]} <= may_differ


def test_a_class_whose_images_are_not_accepted_is_reported_and_no_model_is_made(
    clip: LoadedCLIP, world: World, tmp_path: Path
) -> None:
    hopeless = GradientAscent(iterations=1, threshold=0.99, threshold_decay=0.0, acceptance_scale=1e-3, max_failures=3)
    with pytest.warns(EffaceWarning, match="dog: 0 of 3 images were accepted in 3 attempts"):
        run = efface.forget(clip, "dog", among=NAMES, method=LIP, synthesizer=hopeless, data=[world.data])
    assert run.clip is None
    assert not run.record.reached
    assert run.record.reason.startswith("0 of 3 images were accepted in 3 attempts")
    assert run.record.weights.result is None
    assert run.record.scores.before
    assert not run.record.scores.after
    assert not (run.save(tmp_path / "run") / "model").exists()


def test_fewer_images_than_asked_for_are_worked_on_with_a_warning(clip: LoadedCLIP) -> None:
    # One attempt in some succeeds: after the first failure the search ends.
    scarce = dataclasses.replace(QUICK, max_failures=1, iterations=10)
    many = dataclasses.replace(LIP, images=50)
    with pytest.warns(EffaceWarning, match=r"\d+ of 50 images were accepted"):
        run = efface.forget(clip, "dog", among=NAMES, method=many, synthesizer=scarce, seed=SCARCE_SEED)
    assert run.clip is not None
    assert run.record.synthesis is not None
    assert run.record.synthesis["reached"] is False
    assert run.synthetic is not None
    assert 0 < len(run.synthetic) < 50


@dataclass(frozen=True, slots=True)
class Spy:
    """A method that notes what it is handed."""

    seen: dict[str, object]
    summary: ClassVar[str] = "notes what it is handed"

    @property
    def needs(self) -> Needs:
        return Needs(forget_images=2, prompt="one {} only")

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        assert data.forget is not None
        images = torch.cat([images for images, _ in data.forget.batches(9)])
        self.seen.update(model=model, reference=reference, data=data, images=images, labels=data.forget.labels)
        return Trace((), reached=True, reason="noted")


def test_a_method_is_handed_what_it_asked_for_and_nothing_else(clip: LoadedCLIP) -> None:
    spy = Spy({})
    templates = ("a photo of a {}.", "a drawing of a {}.")
    run = efface.forget(clip, "fox", among=NAMES, method=spy, synthesizer=QUICK, templates=templates)
    data = spy.seen["data"]
    assert isinstance(data, ForgetData)
    assert data.targets == (2,)
    assert data.prompt_tokens is not None
    assert torch.equal(data.prompt_tokens, clip.tokenize(["one fox only"]))
    expected = [[template.format(name) for template in templates] for name in NAMES]
    assert torch.equal(data.class_tokens, clip.class_tokens(expected))
    assert spy.seen["reference"] is clip.encoder
    assert spy.seen["model"] is not clip.encoder
    assert torch.equal(spy.seen["labels"], torch.tensor([2, 2]))  # type: ignore[arg-type]
    # The contact sheet shows the pixels that the method saw.
    assert run.synthetic is not None
    torch.testing.assert_close(clip.encoder.pixels.normalize(run.synthetic), spy.seen["images"])
    assert run.record.method == "tests.test_pipeline.Spy"


def test_a_class_that_no_source_has_is_warned_of_with_the_nearest_name(clip: LoadedCLIP, world: World) -> None:
    with pytest.warns(EffaceWarning, match="no source of held-out images has an image of 'Dog'.*is it 'dog' there"):
        efface.forget(clip, "Dog", among=("Dog", "cat"), method="projection", data=[world.data])


def test_a_text_where_a_list_is_wanted_is_refused_rather_than_taken_apart(clip: LoadedCLIP, world: World) -> None:
    with pytest.raises(InputError, match="data is the text"):
        efface.forget(clip, "dog", among=NAMES, method="projection", data=world.data)
    with pytest.raises(InputError, match="among is the text 'dog'"):
        efface.forget(clip, "dog", among="dog", method="projection")


def test_sources_and_models_may_be_paths(world: World) -> None:
    clip = efface.load(world.model)
    run = efface.forget(clip, "dog", among=NAMES, method="projection", data=[Path(world.data)])
    assert [d.source for d in run.record.data] == [world.data]


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


def test_the_batch_that_memory_did_for_is_on_record(
    clip: LoadedCLIP, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = efface.forget(clip, "dog", among=NAMES, method="projection", data=[world.data]).record
    real = OpenCLIPEncoder.embed_image

    def lacking(self: OpenCLIPEncoder, images: Images) -> Embeddings:
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB.")
        return real(self, images)

    monkeypatch.setattr(OpenCLIPEncoder, "embed_image", lacking)
    with pytest.warns(EffaceWarning) as warned:
        halved = efface.forget(clip, "dog", among=NAMES, method="projection", data=[world.data]).record
    said = "memory does not do for"
    assert [str(w.message) for w in warned] == [
        f"{said} 12 images at a time: 6 from here on",
        f"{said} 6 images at a time: 3 from here on",
    ]
    assert (whole.batch_size, halved.batch_size) == (256, 3)
    assert halved.scores == whole.scores


def test_a_run_that_is_not_saved_keeps_its_checkpoints_and_saving_removes_them(
    clip: LoadedCLIP, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.1)
    working = tmp_path / "work"
    run = efface.forget(clip, "dog", among=NAMES, method="projection", data=[world.data], working=working)
    assert has_checkpoints(working)
    weights = run.record.weights
    with pytest.raises(InputError, match="another process works in"):
        efface.forget(clip, "dog", among=NAMES, method="projection", working=working, resume=True)
    del run
    other = Projection(strength=1.0)
    with pytest.raises(InputError, match=r"another request: class, settings\.strength differ"):
        efface.forget(clip, "cat", among=NAMES, method=other, working=working, resume=True)
    # Other held-out images are no other request: what the method made is the same.
    again = efface.forget(clip, "dog", among=NAMES, method="projection", working=working, resume=True)
    assert again.record.weights == weights
    again.save(tmp_path / "run")
    assert not working.exists()
    # The next one there is not its.
    checkpoints.Working(working, {}).stage("a", {}).offer(lambda: {"n": 1})
    again.save(tmp_path / "run2")
    assert has_checkpoints(working)


def test_a_guarded_run_stopped_while_the_guard_is_made_or_the_method_works_ends_on_the_same_bits(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    monkeypatch.setattr(synthesis, "GUARD", BatchAscent(steps=3))
    monkeypatch.setattr(reassign, "ROUND", 2)

    class Stopping:
        """A reporter under which work ends when so many units of a stage are done."""

        def __init__(self, stage: str, at: int) -> None:
            self.seen, self._stage, self._at = [], stage, at  # type: ignore[var-annotated]

        @contextmanager
        def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
            self.seen.append((name, total))

            def advance(n: int) -> None:
                self._at -= n if name.startswith(self._stage) else 0
                if self._at < 0:
                    raise KeyboardInterrupt

            yield advance

    def run(reporter: Stopping, working: Path | None) -> efface.Run:
        return efface.forget(
            clip,
            "dog",
            among=NAMES,
            method=GUARDED,
            synthesizer=QUICK,
            options=Options(reporter=reporter),
            working=working,
            resume=True,
        )

    monkeypatch.setattr(words, "FEWEST", 2)
    whole = Stopping("none", 0)
    expected = run(whole, None).record
    made = ["synthesising images", "synthesising images"]
    stages = ["encoding images and their copies", "handing over, steps", "unnaming, steps"]
    assert [name for name, _ in whole.seen] == made + stages
    assert [total for _, total in whole.seen] == [3, 5, 3 + 13 + 3 + 11, 5, 4]
    assert list(expected.timing) == ["synthesis", "guard", "method", "evaluation"]
    assert expected.guard is not None
    assert expected.guard["settings"] == asdict(BatchAscent(steps=3))
    # A word of the name is told as it is written.
    assert expected.reason.endswith("of 'dog' says nothing in any text now") == expected.trace.steps[-1]["kept"]
    assert {name: expected.guard[name] for name in ("kind", "images", "nearest")} == {
        "kind": "BatchAscent", "images": 5, "nearest": 32
    }  # fmt: skip
    # In the making of the guard, when the three images of the class are made; in the second round.
    for stage, at in (("synthesising", 4), ("handing", 3)):
        with pytest.raises(KeyboardInterrupt):
            run(Stopping(stage, at), tmp_path / "working")
    again = Stopping("none", 0)
    found = run(again, tmp_path / "working").record
    # What was made is not made again.
    assert [name for name, _ in again.seen] == stages
    assert found.weights == expected.weights
    assert found.trace == expected.trace
    assert found.synthesis == expected.synthesis


def test_what_a_living_process_writes_is_not_taken_for_left_over(clip: LoadedCLIP, tmp_path: Path) -> None:
    half = tmp_path / ".run.partial-0123abcd"
    half.mkdir()
    # None of them has the folder that whoever writes this run has.
    for working in (None, tmp_path / "elsewhere"):
        run = efface.forget(clip, "dog", among=NAMES, method="projection", working=working)
        run.save(tmp_path / "run", overwrite=True)
        assert half.exists()
    run = efface.forget(clip, "dog", among=NAMES, method="projection", working=tmp_path / "run.partial")
    assert run.working is not None
    run.working.close()
    run.save(tmp_path / "run", overwrite=True)
    assert half.exists()
    run = efface.forget(clip, "dog", among=NAMES, method="projection", working=tmp_path / "run.partial")
    run.save(tmp_path / "run", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_how_many_images_fit_into_memory_is_known_after_a_stop_too(
    clip: LoadedCLIP, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(fitting, "FIRST", 1)
    few = shutil.copytree(world.data, tmp_path / "few", ignore=shutil.ignore_patterns("[123].png"))
    real = zero_shot.answer

    def forget_in(limit: int | None, last: bool = True) -> efface.Run:
        def answer(models: Any, data: Any, *args: Any, **more: Any) -> Any:
            if data.source == world.data and not last:
                raise KeyboardInterrupt
            return real(models, data, *args, **more)

        monkeypatch.setattr(measuring, "answer", answer)
        how = Options(batch_size=12, max_memory=limit)
        data, working = [str(few), world.data], tmp_path / "work"
        return efface.forget(
            clip, "dog", among=NAMES, method="projection", data=data, options=how, working=working, resume=True
        )

    with pytest.raises(KeyboardInterrupt):
        forget_in(2**40, last=False)
    # Of the three images of the first source 1 and 2 at a time, then 4 fit; of the second one's all.
    assert forget_in(2**40).record.batch_size == 12
    # What was measured under another limit is measured anew.
    with pytest.warns(EffaceWarning, match="1 at a time from here on"):
        assert forget_in(1).record.batch_size == 1
    assert forget_in(None).record.batch_size == 12


def test_every_public_name_loads() -> None:
    assert all(getattr(efface, name) is not None for name in efface.__all__)


FEW = "dog and fox: the method asks for 5 images a class, and was handed 3 of dog and 3 of fox"


@pytest.fixture
def asked(world: World, tmp_path: Path) -> dict[str, Any]:
    """Two classes with an alias and a phrase, and three images of each."""
    for name in ("dog", "fox"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(3):
            Image.effect_noise((40, 36), 90 + i).convert("RGB").save(tmp_path / "own" / name / f"{i}.png")
    words: dict[str, Any] = {"aliases": ["dog=hound"], "phrases": {"fox": ["the one with the tail"]}}
    method = dataclasses.replace(LIP, images=5)
    return {"among": NAMES, "method": method, "data": [world.data], "images": tmp_path / "own", **words}


def test_several_classes_other_words_and_own_images_are_on_record(
    clip: LoadedCLIP, asked: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.warns(EffaceWarning, match=FEW):
        run = efface.forget(clip, ["dog", "fox"], **asked)
    record = run.record
    assert (record.target, record.targets) == ("dog", ("dog", "fox"))
    assert (record.aliases, record.phrases) == ({"dog": ("hound",)}, {"fox": ("the one with the tail",)})
    assert record.synthesis is None
    assert record.images is not None
    assert record.images.found == record.images.used == {"dog": 3, "fox": 3}
    of = {(s.split, s.n) for s in record.scores.before if s.metric == "acc1"}
    assert of == {("forget", 8), ("retain", 4), ("all", 12)}
    assert [(s.name, s.kind, s.text, s.n) for s in record.other_texts.before] == [
        ("dog", "alias", "hound", 4), ("fox", "phrase", "the one with the tail", 4)
    ]  # fmt: skip
    assert len(record.other_texts.after) == len(record.other_texts.changes) == 6
    assert {r.asked for r in record.retrieved} == {"dog", "fox"}
    # What is written can be read and holds no contradiction, and page and card speak of all of it.
    folder = run.save(tmp_path / "run")
    sealed = read(folder / "record.json")
    assert [*inconsistencies(sealed), *contradictions(sealed)] == []
    for name in ("report.html", "README.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "images of dog and fox" in text
        assert "by the alias hound" in text


def test_own_images_are_part_of_the_request_and_none_of_them_may_judge(
    clip: LoadedCLIP, asked: dict[str, Any], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    mine = tmp_path / "own"
    with pytest.warns(EffaceWarning, match=FEW):
        first = efface.forget(clip, ["dog", "fox"], **asked, seed=1, working=tmp_path / "work").record
    (mine / "fox" / "2.png").write_bytes((mine / "fox" / "1.png").read_bytes())
    with pytest.raises(InputError, match="another request: own images differs"):
        efface.forget(clip, ["dog", "fox"], **asked, seed=1, working=tmp_path / "work", resume=True)
    with pytest.warns(EffaceWarning, match=FEW):
        second = efface.forget(clip, ["dog", "fox"], **asked, seed=1).record
    assert second.weights.result != first.weights.result
    shutil.copy(Path(world.data) / "fox" / "1.png", mine / "fox" / "copy.png")
    with pytest.raises(InputError, match=r"1 image of .* byte for byte: .*copy\.png.* is .*fox/1\.png"):
        efface.forget(clip, ["dog", "fox"], **asked)
    with pytest.raises(InputError, match="projection works on no images"):
        efface.forget(clip, ["dog", "fox"], **asked | {"method": "projection"})
