import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import grimp
import numpy as np
import pytest
import torch

import efface
from efface import checkpoints
from efface.backends.base import LoadedCLIP
from efface.checkpoints import Working
from efface.data.files import sha256_of
from efface.errors import NotFiniteError
from efface.fitting import MemoryLackError
from efface.methods.lip import Lip
from efface.methods.projection import Projection
from efface.methods.reassign import Reassign
from efface.opening import Options, open_all
from efface.plain import differences, plain
from efface.request import ClassTarget, ForgetRequest
from efface.stages import (
    SHAPING,
    asked,
    check_result,
    described_request,
    edit,
    evaluations,
    recorded,
    resuming,
    shaping_code,
    stream,
)
from efface.synthesis.ascent import GradientAscent
from efface.types import DualEncoder, ForgetData, Needs, Reporter, Silent, Trace, Unkept
from tests.worlds import NAMES, World

REQUEST = ForgetRequest((ClassTarget("dog"),), NAMES)
PACKAGE = Path(efface.__file__).parent
CODE = shaping_code(PACKAGE)


def no_code(folder: str, names: list[str]) -> list[str]:
    """What of a folder of the package is neither code nor a folder of code."""
    return [n for n in names if n == "__pycache__" or not (n.endswith(".py") or (Path(folder) / n).is_dir())]


@dataclass(frozen=True)
class Plain:
    """A method of a third party: it knows of no checkpoint, and adds random numbers to the last image weights."""

    error: str = ""
    summary: ClassVar[str] = "adds noise"

    @property
    def needs(self) -> Needs:
        return Needs()

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        if self.error:
            raise torch.OutOfMemoryError(self.error)
        with torch.no_grad():
            weight = model.module.get_parameter("visual.proj")
            weight.add_(torch.randn(weight.shape, generator=rng))
        return Trace(({"round": 0, "names": ["visual.proj"]},), reached=False, reason="added")


def edited(clip: LoadedCLIP, method: Plain, folder: Path | None) -> tuple[LoadedCLIP, Trace, bool]:
    """The model, its trace, and whether it was made before."""
    data = ForgetData((1,), clip.class_tokens([[name] for name in NAMES]))
    with Working(folder, {}, resume=True) as working:
        stage = working.stage("method", {})
        was_made = stage.result is not None
        return *edit(clip, method, data, 0, stage, Silent()), was_made


def test_a_method_that_knows_no_checkpoint_is_run_and_its_result_kept(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    found = [edited(clip, Plain(), folder) for folder in (None, tmp_path / "w", tmp_path / "w")]
    assert [was_made for _, _, was_made in found] == [False, False, True]
    states = [model.stored_state() for model, _, _ in found]
    for state in states[1:]:
        assert all(torch.equal(state[name], tensor) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["visual.proj"], clip.stored_state()["visual.proj"])
    assert found[0][1] == found[1][1] == found[2][1]
    # What is kept is what was edited, not the model.
    assert sum(p.stat().st_size for p in (tmp_path / "w" / "method").iterdir()) < 10_000


@dataclass(frozen=True)
class Counting(Plain):
    """It says what it did in numbers of numpy's and torch's, and how often it was asked."""

    asked: ClassVar[list[int]] = []

    def edit_(self, *args: Any, **more: Any) -> Trace:
        self.asked.append(1)
        super().edit_(*args, **more)
        # Typed by numpy itself as a float, the first alone.
        step: Any = {"loss": np.float64(0.5), "rounds": np.int64(2), "best": torch.tensor(3.0)}
        return Trace((step,), reached=True, reason="added")


def test_numbers_of_other_libraries_in_a_trace_cost_no_run(
    clip: LoadedCLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    traces = [edited(clip, Counting(), folder)[1] for folder in (None, tmp_path / "w", tmp_path / "w")]
    assert len(Counting.asked) == 2
    assert traces[0] == traces[1] == traces[2]
    assert json.dumps(traces[0].steps) == '[{"loss": 0.5, "rounds": 2, "best": 3.0}]'


def test_images_that_are_other_ones_by_a_column_alone_are_measured_anew(
    clip: LoadedCLIP, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    rows = "".join(f"{name}/{i}.png,{name},{'AB'[i % 2]}\n" for name in NAMES for i in range(4))
    source = Path(shutil.copytree(world.data, tmp_path / "pictures")) / "images.csv"
    source.write_text(f"image,label,camera\n{rows}", encoding="utf-8")
    for camera, is_known in (("A", False), ("A", True), ("B", False)):
        options = Options(where={"camera": camera})
        with Working(tmp_path / "w", {}, resume=True) as working:
            (stage,) = evaluations(working, clip, open_all(clip, [str(source)], options), options)
            assert (stage.result is not None) == is_known
            stage.finish(lambda: {"n": 1})


def test_a_checkpoint_is_handed_to_those_that_take_one() -> None:
    checkpoint = Unkept()
    assert resuming(lambda checkpoint: checkpoint, checkpoint)() is checkpoint
    assert resuming(lambda x: x, checkpoint)(3) == 3


def test_a_method_that_memory_does_not_do_for_ends_in_words(clip: LoadedCLIP) -> None:
    with pytest.raises(MemoryLackError, match=r"memory does not do for the method: CUDA out of memory\.") as caught:
        edited(clip, Plain("CUDA out of memory."), None)
    assert "--max-memory" in caught.value.hint


def test_a_request_knows_all_that_the_weights_depend_on(clip: LoadedCLIP) -> None:
    known = described_request(clip, REQUEST, Plain("x"), GradientAscent())
    assert known["settings"] == {"error": "x"}
    assert known["synthesis"] is None  # the method makes no images
    assert known["environment"]["torch"]
    # What is a third party's counts beside all of efface's own; the synthesis, which nothing is made with, does not.
    assert known["code"] == {"efface": CODE, f"{__name__}.Plain": sha256_of(Path(__file__))}
    guarded = described_request(clip, REQUEST, Reassign(), GradientAscent())
    assert guarded["code"] == {"efface": CODE}


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("functional/handover.py", True),
        ("methods/base.py", True),
        ("synthesis/climbing.py", True),
        ("synthesis/new.py", True),
        ("cut.py", True),
        ("guarding.py", True),
        ("choosing.py", True),
        ("methods/subgroup/layers.py", True),
        ("encoding.py", True),
        ("seeds.py", True),
        ("types.py", True),
        ("backends/base.py", True),
        ("lookups.py", True),
        ("guard_counts.py", True),
        ("console.py", False),
        ("cli/forget.py", False),
    ],
)
def test_code_that_shapes_a_result_makes_another_request(file: str, decides: bool, tmp_path: Path) -> None:
    package = Path(shutil.copytree(PACKAGE, tmp_path / "efface", ignore=no_code))
    assert shaping_code(package) == CODE
    with (package / file).open("a", encoding="utf-8") as changed:
        changed.write("# changed\n")
    assert (shaping_code(package) != CODE) is decides


def test_all_that_methods_are_built_on_shapes_a_result() -> None:
    # What is left says what something is, or how far it is, and how much of a batch memory holds at a time.
    only_says = {"efface.errors", "efface.fitting", "efface.noting"}
    built_on = grimp.build_graph("efface", cache_dir=None).find_upstream_modules
    below = set().union(
        *(built_on(f"efface.{part}", as_package=True) for part in ("functional", "methods", "synthesis"))
    )
    parts = {"efface." + part.removesuffix(".py").replace("/", ".") for part in SHAPING}
    assert {m for m in below if not any(f"{m}.".startswith(f"{part}.") for part in parts)} == only_says


def test_the_same_weights_in_another_configuration_are_another_request(clip: LoadedCLIP, tmp_path: Path) -> None:
    def asked_of(other: LoadedCLIP) -> dict[str, Any]:
        return plain(described_request(other, REQUEST, Plain(), GradientAscent()))

    assert clip.folder is not None
    folder = shutil.copytree(clip.folder, tmp_path / "clip")
    moved = replace(clip, folder=folder)
    assert list(differences(asked_of(clip), asked_of(moved))) == []
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert list(differences(asked_of(clip), asked_of(moved))) == ["configuration.files.tokenizer.json"]
    darker = replace(clip.encoder.pixels, mean=(0.1, 0.2, 0.3))
    config = {**clip.config, "preprocess_cfg": {"mean": darker.mean}}
    changed = replace(clip, encoder=replace(clip.encoder, pixels=darker), config=config)  # type: ignore[type-var]
    assert "configuration.pixels.mean" in differences(asked_of(clip), asked_of(changed))
    assert any(name.startswith("configuration.config") for name in differences(asked_of(clip), asked_of(changed)))


def test_a_finished_run_is_known_by_what_was_asked_for(clip: LoadedCLIP) -> None:
    quick = GradientAscent(jitter=2, acceptance_scale=1.0, threshold=0.01)
    for method in (Projection(ridge=1e-2), Lip(images=2, samples=1, max_rounds=1)):
        record = efface.forget(clip, "dog", among=NAMES, method=method, synthesizer=quick, seed=3).record
        request = ForgetRequest((ClassTarget("dog"),), NAMES, record.templates, 3)
        words = asked(request, method, quick, model=clip.source, device="cpu", precision="float32")
        assert plain(words) == plain(recorded(record))


def test_a_result_with_weights_that_are_not_finite_is_not_handed_out(clip: LoadedCLIP) -> None:
    edited = clip.copy()
    with torch.no_grad():
        # Finite in float32, beyond the largest number of the checkpoint's half precision.
        edited.encoder.module.get_parameter("visual.proj").fill_(1e6)
    edited.round_to_stored_()
    with pytest.raises(NotFiniteError, match=r"'visual.proj' became NaN or infinite"):
        check_result(edited)


def test_streams_of_random_numbers_differ_by_purpose_and_seed() -> None:
    drawn = {torch.rand(1, generator=stream(seed, purpose)).item() for seed in (0, 1) for purpose in ("a", "b")}
    assert len(drawn) == 4
    assert torch.equal(torch.rand(3, generator=stream(5, "a")), torch.rand(3, generator=stream(5, "a")))
