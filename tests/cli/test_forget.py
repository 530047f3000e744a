import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from efface import backends, checkpoints, measuring, pipeline
from efface.cli import run
from efface.errors import NotFiniteError
from efface.export import folder
from tests.cli.asking import forget, said
from tests.disk import tree
from tests.worlds import World

LIP = ["--set", "images=3", "--set", "samples=2", "--set", "learning_rate=1e-3", "--set", "synthesis.jitter=2"]
QUICK = ["--set", "synthesis.acceptance_scale=1", "--set", "synthesis.threshold=0.01"]


def test_forget_writes_a_run_folder_and_prints_its_path(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection")) == 0
    out, err = said(capsys)
    assert out == f"{tmp_path / 'run'}\n"
    assert "done: the class's own direction was damped" in err
    names = {"model", "record.json", "results", "report.html", "README.md", "retrieved.png"}
    assert {p.name for p in (tmp_path / "run").iterdir()} == names


def test_json_prints_the_record_and_nothing_else(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection", "--json")) == 0
    out, _ = said(capsys)
    assert out == (tmp_path / "run" / "record.json").read_text(encoding="utf-8")
    record = json.loads(out)
    assert {"seconds", "peak_memory_bytes"} <= record.keys()
    assert set(record["scores"]) == {"before", "after"}


def test_a_missed_goal_is_exit_code_1_and_the_folder_is_written(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One step of 1e-9 changes no answer: nothing moves.
    still = ["--preset", "paper", "--set", "max_rounds=1", *LIP, *QUICK]
    still[still.index("learning_rate=1e-3")] = "learning_rate=1e-9"
    assert run(forget(world, tmp_path / "run", *still)) == 1
    assert "goal missed: nothing was forgotten" in said(capsys)[1]
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["preset"] == "changed from paper"
    assert record["settings"]["learning_rate"] == 1e-9
    assert record["synthesis"]["settings"]["jitter"] == 2
    assert (tmp_path / "run" / "synthetic.png").is_file()


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--preset", "paper", *LIP, "--dry-run", "--seed", "4")) == 0
    plan = json.loads(said(capsys)[0])
    assert plan["settings"]["learning_rate"] == 1e-3
    assert plan["request"]["seed"] == 4
    assert plan["request"]["among"] == ["cat", "dog", "fox"]
    assert plan["guard"] is None
    assert not (tmp_path / "run").exists()


def test_a_plan_says_how_a_guard_is_made_beside_the_users_own_images_too(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--images", world.data, "--set", "synthesis.batch_size=5", "--dry-run"]
    assert run(forget(world, tmp_path / "run", *own, "--set", "guard_images=7")) == 0
    plan = json.loads(said(capsys)[0])
    assert plan["synthesis"] is None
    assert (plan["guard"]["images"], plan["guard"]["nearest"], plan["guard"]["settings"]["batch_size"]) == (7, 32, 5)
    # Without a guard nothing is made.
    assert run(forget(world, tmp_path / "run", *own, "--set", "guard_images=0")) == 2
    assert "synthesis.batch_size would change nothing" in said(capsys)[1]


def test_several_classes_other_words_and_own_images_are_one_request(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, name in enumerate(("dog", "fox")):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("RGB", (40, 36), (i, 0, 0)).save(tmp_path / "own" / name / "1.png")
    words = [
        "--class",
        "fox",
        "--alias",
        "dog=hound",
        "--phrase",
        "fox=a tail",
        "--images",
        str(tmp_path / "own"),
    ]
    short = ["--preset", "lipschitz", "--set", "images=1", "--set", "samples=1", "--set", "max_rounds=1"]
    short += ["--set", "max_learning_rate=1e-4"]
    asked = forget(world, tmp_path / "run", *words, *short)
    assert run([*asked, "--dry-run"]) == 0
    plan = json.loads(said(capsys)[0])
    assert [(t["name"], t["aliases"], t["phrases"]) for t in plan["request"]["targets"]] == [
        ("dog", ["hound"], []), ("fox", [], ["a tail"])
    ]  # fmt: skip
    assert (plan["request"]["images"], plan["synthesis"]) == (str(tmp_path / "own"), None)
    assert run(asked) in (0, 1)
    assert "hound" in said(capsys)[1]
    assert json.loads((tmp_path / "run" / "record.json").read_text())["targets"] == ["dog", "fox"]
    # A finished run is known by all of it.
    assert run([*asked, "--resume"]) in (0, 1)
    assert run([*asked, "--resume", "--alias", "fox=vixen"]) == 2
    assert "another request: aliases.fox differs" in said(capsys)[1]
    assert run([*asked, "--resume", "--drop-outliers"]) == 2
    assert "another request: sifting.drop_outliers differs" in said(capsys)[1]
    assert run(["verify", str(tmp_path / "run"), "--workers", "0", "--rerun"]) == 0


BAD: list[tuple[list[str], str, str]] = [
    (["--class", "dig"], "the class 'dig' is not among the 3 class names", "did you mean 'dog'?"),
    (["--classnames", "none.txt"], "none.txt", ""),
    (["--template", "a photo"], "a photo", ""),
    (["--eval", "nowhere.parquet"], "nowhere.parquet", ""),
    (["--method", "lipp"], "there is no method 'lipp'", "did you mean lip?"),
    (["--preset", "papr"], "lip has no preset 'papr'", "it has default, lipschitz, paper"),
    (["--drop-outliers"], "there are no images of yours to leave outliers out of", "--images"),
    (["--set", "rate"], "the setting 'rate' is not of the form name=value", "write --set NAME=VALUE"),
    (["--set", "learning_rat=1"], "there is no setting 'learning_rat'", "did you mean learning_rate?"),
    (["--set", "synthesis.rat=1"], "there is no setting 'rat'", "did you mean rate?"),
    (["--set", "steps=0"], "steps is 0: input should be greater than or equal to 1", "efface methods lists"),
    (["--model", "ViT-B-32"], "'ViT-B-32' does not name a model that can be loaded", "write the path of a folder"),
    (["--model", "local-dir:none"], "there is no folder 'none'", "give the folder that holds open_clip_config.json"),
    (["--device", "quantum"], "the device 'quantum' cannot be used", "use cpu"),
    (["--precision", "fp8"], "there is no precision 'fp8'", "use fp32 or bf16"),
    (["--seed", "-1"], "invalid value for '--seed'", "efface COMMAND --help lists the options"),
    (["--no-such-option"], "no such option: --no-such-option", "efface COMMAND --help lists the options"),
]


@pytest.mark.parametrize(("more", "error", "hint"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_error_and_one_hint_and_nothing_is_written(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], error: str, hint: str
) -> None:
    assert run(forget(world, tmp_path / "run", *more)) == 2
    out, err = said(capsys)
    lines = err.strip().splitlines()
    assert out == ""
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], err
    assert error in lines[0]
    assert hint in lines[1]
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_anything_loads(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "keep.txt").touch()
    assert run(forget(world, tmp_path / "run")) == 2
    assert "exists" in said(capsys)[1]
    assert run(forget(world, tmp_path / "run", "--overwrite")) == 2
    assert "is not a run folder" in said(capsys)[1]
    assert (tmp_path / "run" / "keep.txt").exists()


def test_a_class_that_the_data_do_not_have_is_warned_of(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("Dog\ncat\n", encoding="utf-8")
    asked = forget(world, tmp_path / "run", "--method", "projection", "--classnames", str(names))
    asked[asked.index("dog")] = "Dog"
    assert run(asked) == 0
    (warning,) = (line for line in said(capsys)[1].splitlines() if line.startswith("warning:"))
    assert "no source of held-out images has an image of 'Dog'" in warning
    assert "is it 'dog' there?" in warning


def test_a_class_of_which_no_image_can_be_decoded_is_warned_of_and_on_record(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = shutil.copytree(world.data, tmp_path / "pictures")
    for image in (pictures / "dog").iterdir():
        image.write_bytes(b"broken")
    asked = forget(world, tmp_path / "run", "--method", "projection", "--on-bad-image", "skip")
    asked[asked.index("--eval") + 1] = str(pictures)
    assert run(asked) == 0
    warnings = [line for line in said(capsys)[1].splitlines() if line.startswith("warning:")]
    assert "all images of dog in" in warnings[-1]
    assert json.loads((tmp_path / "run" / "record.json").read_text())["data"][0]["lost"] == ["forget"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "all images of dog are among these: nothing is measured on them." in card
    assert "<dt>not measured</dt><dd>images of dog: none can be decoded</dd>" in (
        tmp_path / "run" / "report.html"
    ).read_text(encoding="utf-8")


def test_settings_of_a_synthesis_that_there_is_not_are_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection", "--set", "synthesis.jitter=0.5")) == 2
    assert "projection makes no images: it has no jitter" in said(capsys)[1]


def test_a_run_that_is_stopped_says_how_to_go_on_and_one_that_is_finished_is_not_done_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection", "--resume")
    with monkeypatch.context() as broken:
        broken.setattr(folder, "save", _full)
        assert run(asked) == 2
    kept = f"what is done is kept in {tmp_path / 'run.partial'}: the same command with --resume goes on from there"
    assert said(capsys)[1].splitlines()[-2:] == [
        "error: model: No space left on device",
        f"hint: make room, or look at the path; {kept}",
    ]
    assert run([*asked, "--set", "strength=1"]) == 2
    assert said(capsys)[1].splitlines()[-2:] == [
        f"error: {tmp_path / 'run.partial'} holds what was noted of another request: settings.strength differs",
        "hint: ask for the same, with all files of the model as they were, to go on; "
        "--overwrite without --resume deletes it, and begins anew",
    ]
    assert run(asked) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    before = tree(tmp_path)
    said(capsys)
    assert run(asked) == 0
    assert said(capsys)[0] == f"{tmp_path / 'run'}\n"
    assert tree(tmp_path) == before


def _killed(*args: object, **more: object) -> None:
    raise KeyboardInterrupt


def _finished_lip(world: World, out: Path) -> list[str]:
    """A run that is finished, and the command that made it."""
    asked = forget(world, out, "--preset", "paper", "--set", "max_rounds=1", *LIP, *QUICK)
    assert run(asked) in (0, 1)
    return asked


def test_a_finished_run_is_shown_where_the_same_is_asked_for_and_refused_where_anything_else_is(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _finished_lip(world, tmp_path / "run")
    first, before = said(capsys), tree(tmp_path)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert run([*asked, "--resume"]) == int(not record["reached"])
    again = said(capsys)
    assert again[0] == first[0]
    assert record["reason"] in again[1]
    other = shutil.copytree(world.data, tmp_path / "other")
    for more, differs in (
        (["--seed", "1"], "seed"),
        (["--precision", "bf16"], "precision"),
        (["--set", "synthesis.iterations=9"], "synthesis.settings.iterations"),
        (["--set", "accumulate=3", "--template", "a {}"], "settings.accumulate, templates"),
        (["--where", "x=y"], "data differs"),
        (["--eval", str(other)], "data differs"),
        (["--model", str(Path(world.model.removeprefix("local-dir:")))], "model"),
    ):
        assert run([*asked, "--resume", *more]) == 2
        error, hint = said(capsys)[1].splitlines()[-2:]
        assert error.startswith(f"error: {tmp_path / 'run'} holds a finished run of another request: {differs}")
        assert "--resume --overwrite makes the one that is asked for now" in hint
    shutil.rmtree(other)
    assert tree(tmp_path) == before


def test_what_a_later_run_noted_is_not_lost_to_a_finished_one(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = forget(world, tmp_path / "run", "--method", "projection")
    assert run(asked) == 0
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    # A second later, as clocks of records go.
    monkeypatch.setattr(checkpoints, "TIME", "2999-01-01T00:00:00Z")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run([*asked, "--overwrite"]) == 130
    before = tree(tmp_path)
    said(capsys)
    for more, error in (
        (["--resume"], "holds what a later run noted that was stopped"),
        ([], "holds what a run noted that was stopped"),
        # As one repeats it; and no warning that it is deleted.
        (["--overwrite"], "holds what a run noted that was stopped"),
    ):
        assert run([*asked, *more]) == 2
        *_, told, hint = said(capsys)[1].splitlines()
        assert told == f"error: {tmp_path / 'run.partial'} {error}"
        assert hint.startswith("hint: --resume --overwrite goes on with it; ")
        assert tree(tmp_path) == before
    assert run([*asked, "--resume", "--overwrite"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_was_noted_is_not_lost_where_resume_is_forgotten(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run(asked) == 130
        before = tree(tmp_path)
        # Said before anything is loaded.
        patch.setattr(backends, "load", lambda *_, **__: pytest.fail("a model was loaded"))
        assert run(asked) == 2
    assert said(capsys)[1].splitlines()[-2:] == [
        f"error: {tmp_path / 'run.partial'} holds what a run noted that was stopped",
        "hint: --resume goes on with it; to begin anew, remove that folder, or choose another --out",
    ]
    assert tree(tmp_path) == before
    assert run([*asked, "--overwrite", "--seed", "1"]) == 0
    assert f"what a run of another request noted in {tmp_path / 'run.partial'} is deleted now" in said(capsys)[1]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("at", ["efface.export.folder.note_run", "efface.checkpoints.Working.discard"])
def test_a_run_that_is_killed_after_it_was_written_ends_as_it_would_have(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(forget(world, tmp_path / "first", "--method", "projection")) == 0
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(at, _killed)
        assert run(asked) == 130
    (tmp_path / ".run.replaced-0123abcd").mkdir()
    assert (tmp_path / "run.partial").is_dir()
    assert run([*asked, "--resume"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"first", "run", "runs.jsonl", ".runs.jsonl.lock"}
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == ["first", "run"]


@pytest.mark.parametrize("every", [0.0, 1e9])
@pytest.mark.parametrize("at", ["efface.export.folder.note_run", "efface.checkpoints.Working.discard"])
def test_a_run_that_is_stopped_when_it_is_whole_says_so(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
    every: float,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", every)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    for more in ([], ["--overwrite", "--seed", "1"]):
        with monkeypatch.context() as patch:
            patch.setattr(at, _killed)
            assert run([*asked, *more]) == 130
        whole = f"hint: the run is whole in {tmp_path / 'run'}: --resume without --overwrite shows it"
        assert said(capsys)[1].splitlines()[-2:] == ["error: interrupted", whole]
        assert run([*asked, "--resume", *more[1:]]) == 0
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_where_a_run_has_come_to_be_by_the_end_the_way_on_replaces_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(forget(world, tmp_path / "other", "--method", "projection", "--seed", "1")) == 0
    asked = forget(world, tmp_path / "run", "--method", "projection")
    real = measuring.measure

    def appear(*args: Any, **more: Any) -> Any:
        shutil.copytree(tmp_path / "other", tmp_path / "run")
        return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", appear)
        assert run(asked) == 2
    assert said(capsys)[1].splitlines()[-1].endswith("the same command with --resume --overwrite goes on from there")
    assert run([*asked, "--resume", "--overwrite"]) == 0
    assert json.loads((tmp_path / "run" / "record.json").read_text())["seed"] == 0


def test_what_is_noted_of_another_request_is_not_lost_to_a_finished_run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure", _killed)
        assert run([*forget(world, tmp_path / "other", "--method", "projection"), "--seed", "1"]) == 130
    assert run(asked) == 0
    (tmp_path / "other.partial").rename(tmp_path / "run.partial")
    before = tree(tmp_path)
    assert run([*asked, "--resume"]) == 2
    told, hint = said(capsys)[1].splitlines()[-2:]
    assert told.endswith("run.partial holds what a run noted that was stopped, of another request: seed differs")
    assert "--resume --overwrite" in hint
    assert tree(tmp_path) == before


def test_the_folder_that_one_stands_in_can_be_replaced(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection")) == 0
    for dots in (".", "model/.."):
        monkeypatch.chdir(tmp_path / "run")
        assert run(forget(world, Path(dots), "--method", "projection", "--overwrite", "--json")) == 0
        monkeypatch.chdir(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_whatever_ends_a_run_says_how_to_go_on_where_that_helps(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    asked = forget(world, tmp_path / "run", "--method", "projection", "--resume")
    kept = f"what is done is kept in {tmp_path / 'run.partial'}: the same command with --resume goes on from there"

    def ends(error: BaseException) -> None:
        def end(*args: object, **more: object) -> None:
            raise error

        monkeypatch.setattr(pipeline, "measure", end)

    ends(NotFiniteError("the loss is nan", hint="lower the learning rate"))
    assert run(asked) == 1
    assert said(capsys)[1].splitlines()[-1] == "hint: lower the learning rate"
    ends(RuntimeError("of another kind"))
    with pytest.raises(RuntimeError) as caught:
        run(asked)
    assert caught.value.__notes__ == [kept]
    monkeypatch.setattr(backends, "load", _killed)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-1] == f"hint: {kept}"


def test_ctrl_c_says_how_to_go_on_where_there_is_something_to_go_on_from(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    asked = forget(world, tmp_path / "run", "--method", "projection")
    monkeypatch.setattr(pipeline, "measure", interrupted)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-2:] == [
        "error: interrupted",
        "hint: nothing was written; run the command again",
    ]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    assert run(asked) == 130
    assert said(capsys)[1].splitlines()[-1].startswith(f"hint: what is done is kept in {tmp_path / 'run.partial'}")


def _full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model")
