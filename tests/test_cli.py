import json
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from efface import cli
from efface.cli import run, slug
from tests.worlds import World

LIP = ["--set", "images=3", "--set", "samples=2", "--set", "learning_rate=1e-3", "--set", "synthesis.jitter=2"]
QUICK = ["--set", "synthesis.acceptance_scale=1", "--set", "synthesis.threshold=0.01"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def forget(world: World, out: Path, *more: str) -> list[str]:
    asked = ["forget", "--model", world.model, "--class", "dog", "--classnames", world.names, "--workers", "0"]
    return [*asked, "--eval", world.data, "--out", str(out), *more]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return out, ANSI.sub("", err)


def test_forget_writes_a_run_folder_and_prints_its_path(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection")) == 0
    out, err = said(capsys)
    assert out == f"{tmp_path / 'run'}\n"
    assert "done: the class's own direction was damped" in err
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"model", "record.json", "report.html", "README.md"}


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


def test_evaluate_gives_the_scores_of_the_run(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(forget(world, tmp_path / "run", "--method", "projection", "--json"))
    record = json.loads(said(capsys)[0])
    edited = f"local-dir:{tmp_path / 'run' / 'model'}"
    asked = ["evaluate", edited, "--eval", world.data, "--class", "dog", "--workers", "0", "--json"]
    assert run([*asked, "--against", world.model]) == 0
    both = json.loads(said(capsys)[0])
    assert both["scores"] == record["scores"]
    assert both["classes"] == record["classes"]
    assert run(asked) == 0
    alone = json.loads(said(capsys)[0])
    assert alone["scores"]["before"] == []
    assert alone["scores"]["after"] == [s for s in record["scores"]["after"] if s["towers"] == "both"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", *LIP, "--dry-run", "--seed", "4")) == 0
    plan = json.loads(said(capsys)[0])
    assert plan["settings"]["learning_rate"] == 1e-3
    assert plan["request"]["seed"] == 4
    assert plan["request"]["among"] == ["cat", "dog", "fox"]
    assert not (tmp_path / "run").exists()


def test_methods_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(said(capsys)[0])}
    assert set(listed) == {"lip", "projection"}
    assert listed["lip"]["needs"] == {"forget_images": 64, "prompt": "A picture of {}"}
    assert set(listed["lip"]["presets"]) == {"default", "paper"}
    assert run(["methods"]) == 0
    text = said(capsys)[0]
    assert all(s["name"] in text for m in listed.values() for p in m["presets"].values() for s in p)


BAD: list[tuple[list[str], str, str]] = [
    (["--class", "dig"], "the class 'dig' is not among the 3 class names", "did you mean 'dog'?"),
    (["--classnames", "none.txt"], "none.txt", ""),
    (["--template", "a photo"], "a photo", ""),
    (["--eval", "nowhere.parquet"], "nowhere.parquet", ""),
    (["--method", "lipp"], "there is no method 'lipp'", "did you mean lip? there are lip, projection"),
    (["--preset", "papr"], "lip has no preset 'papr'", "it has default, paper"),
    (["--set", "rate"], "the setting 'rate' is not of the form name=value", "write --set NAME=VALUE"),
    (["--set", "learning_rat=1"], "there is no setting 'learning_rat'", "did you mean learning_rate?"),
    (["--set", "synthesis.rat=1"], "there is no setting 'rat'", "did you mean rate?"),
    (["--set", "samples=0"], "samples is 0: input should be greater than or equal to 1", "efface methods lists"),
    (["--model", "ViT-B-32"], "'ViT-B-32' does not name a model that can be loaded", "write local-dir:FOLDER"),
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
    asked = forget(world, tmp_path / "run", "--method", "projection", "--classnames", str(names), "--class", "Dog")
    assert run(asked) == 0
    (warning,) = (line for line in said(capsys)[1].splitlines() if line.startswith("warning:"))
    assert "no source of held-out images has an image of 'Dog'" in warning
    assert "is it 'dog' there?" in warning


def test_settings_of_a_synthesis_that_there_is_not_are_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forget(world, tmp_path / "run", "--method", "projection", "--set", "synthesis.jitter=2")) == 2
    assert "projection makes no images: it has no jitter" in said(capsys)[1]


def test_nothing_asked_is_answered_with_help_and_the_version_with_the_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([]) == 0
    assert "Removes a class from a CLIP model" in ANSI.sub("", said(capsys)[0])
    assert run(["--version"]) == 0
    assert said(capsys)[0].strip() == version("efface")


def test_ctrl_c_ends_in_words_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    # A search for images that would go on for long, interrupted once it has begun.
    slow = ["--set", "images=9999", "--set", "synthesis.threshold=0.99", "--set", "synthesis.acceptance_scale=1e-9"]
    asked = [sys.executable, "-m", "efface", *forget(world, tmp_path / "run", *slow)]
    with subprocess.Popen(asked, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(8)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "error: interrupted" in ANSI.sub("", err)
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["forget", "--class", "dog"]) == 2
    assert said(capsys)[1].startswith("error: missing option '--model'")


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (OSError(28, "No space left on device", "/x"), 2, "/x: No space left on device"),
        (KeyboardInterrupt(), 130, "int"),
    ],
)
def test_a_full_disk_and_an_interrupt_end_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, text: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "app", fail)
    assert run(["methods"]) == code
    assert text in said(capsys)[1]


def test_class_names_become_parts_of_paths() -> None:
    assert slug("Golden Retriever (dog)/..") == "golden-retriever-dog"
    assert slug("帝王蝶") == "帝王蝶"
    assert slug("..") == "class"


def test_help_needs_no_torch() -> None:
    code = "from efface.cli import run; import sys; run(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "forget" in done.stdout
