import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from efface.cli import run
from tests.cli.asking import forget, said
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


def listed(folder: Path, name: str, first: int, each: int = 10) -> str:
    """Pictures of three classes in a table that tells two cameras apart; none is that of another number."""
    (folder / name).mkdir()
    rows = ["path,label,camera"]
    for i in range(first, first + 3 * each):
        Image.new("RGB", (8, 8), (i, 7 * i % 256, 40)).save(folder / name / f"{i}.png")
        rows.append(f"{i}.png,{('cat', 'dog', 'fox')[i % 3]},{'phone' if i // 3 % 2 else 'mirror'}")
    (folder / name / "images.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(folder / name / "images.csv")


SUBGROUP = ['stages=["forget","restore"]', "forget.steps=2", "forget.every=1", "forget.leaves=4", "forget.copies=1"]


def test_one_kind_of_a_class_is_forgotten_beside_images_of_what_is_to_stay(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, stay, held = (listed(tmp_path, name, 50 * i) for i, name in enumerate(("own", "stay", "held")))
    (tmp_path / "groups.tsv").write_text("dog\tpet\ncat\tpet\n")
    asked = ["forget", "--model", world.model, "--class", "dog", "--classnames", world.names, "--workers", "0"]
    asked += ["--method", "subgroup", "--images", own, "--where", "camera=phone", "--retain-images", stay]
    asked += ["--hierarchy", str(tmp_path / "groups.tsv"), "--eval", held, "--out", str(tmp_path / "run")]
    asked += [part for setting in SUBGROUP for part in ("--set", setting)]
    assert run([*asked, "--dry-run"]) == 0
    plan = json.loads(said(capsys)[0])
    assert plan["request"]["beside"]["where"] == {"camera": "phone"}
    assert plan["guard"] is None
    assert run(asked) in (0, 1)
    assert "(camera" in said(capsys)[1]
    record = json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))
    assert {s["split"]: s["n"] for s in record["scores"]["before"] if s["metric"] == "acc1"} == {
        "forget": 5, "siblings": 5, "retain": 20, "all": 30
    }  # fmt: skip
    assert record["images"]["used"] == {"dog": 4}
    # Of the 25 that may stay, the five dogs of the mirror among them, a fifth is put aside.
    handed = {one["role"]: sum(one["used"].values()) for one in record["handed"]}
    assert handed == {"calibration_forget": 1, "retain": 20, "calibration": 5}
    assert record["beside"]["hierarchy"] == {"dog": "pet", "cat": "pet"}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "other images of the class" in page
    assert "put aside of the images that are to be forgotten" in page
    assert run(["verify", str(tmp_path / "run"), "--rerun", "--workers", "0"]) == 0
    said(capsys)
    # The same is asked for again, and another kind.
    assert run([*asked, "--resume"]) in (0, 1)
    said(capsys)
    other = [word if word != "camera=phone" else "camera=mirror" for word in asked]
    assert run([*other, "--resume"]) == 2
    assert "of another request: where.camera differs" in said(capsys)[1]


def test_what_cannot_be_meant_by_a_kind_or_of_use_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, held = (listed(tmp_path, name, 50 * i) for i, name in enumerate(("own", "held")))
    asked = ["forget", "--model", world.model, "--class", "dog", "--classnames", world.names, "--workers", "0"]
    asked += ["--method", "subgroup", "--out", str(tmp_path / "run")]
    for more, error, hint in (
        (["--where", "camera=phone"], "images of one kind are to be forgotten", "--eval-where"),
        (["--images", own, "--where", "camera=phone", "--eval", world.data], "has no columns", "by a column"),
        (["--images", own, "--where", "camra=phone", "--eval", held], "no column 'camra'", "did you mean camera?"),
        (["--images", own, "--where", "camera=phnoe"], "no image of 'dog' in", "did you mean phone?"),
        (["--method", "lip", "--retain-images", own], "lip asks for no such images", "--retain-images"),
        (["--images", own, "--retain-images", held, "--eval", held], "holds the images that judge", "give others"),
    ):
        assert run([*asked, *more]) == 2
        *_, told, way = said(capsys)[1].splitlines()
        assert error in told
        assert hint in way
        assert not (tmp_path / "run").exists()
