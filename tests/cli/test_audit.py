import json
from pathlib import Path

import pytest

from efface.attacks.plain import Plain
from efface.attacks.retrieval import Retrieval
from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.verifying.runs import write_run_without_dogs
from tests.worlds import World


@pytest.fixture(scope="module")
def folder(clip: LoadedCLIP, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that forgot the dog."""
    return write_run_without_dogs(clip, world, tmp_path_factory.mktemp("audited"))


def test_a_run_is_audited_and_the_exit_code_says_whether_the_class_came_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["audit", str(folder), "--attack", "towers", "--workers", "0"]
    code = run(asked)
    out, err = said(capsys)
    assert out == f"{folder / 'audit.json'}\n"
    assert "never learned" in err
    document = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert code == int(document["verdict"]["revived"])
    assert run([*asked, "--json"]) == code
    assert json.loads(said(capsys)[0])["tried"] == document["tried"]


def test_two_models_are_audited_into_a_file(
    folder: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = f"local-dir:{folder / 'model'}"
    asked = ["audit", "--model", edited, "--against", world.model, "--class", "dog", "--eval", world.data]
    out = tmp_path / "audit.json"
    (tmp_path / "words.txt").write_text("hound\nwhelp\n", encoding="utf-8")
    words = ["--word", str(tmp_path / "words.txt"), "--word", "cur"]
    assert run([*asked, *words, "--attack", "retrieval", "--workers", "0", "--out", str(out)]) in (0, 1)
    assert said(capsys)[0] == f"{out}\n"
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [one["attack"] for one in found["tried"]] == ["plain", "retrieval"]
    assert found["subject"]["record"] is None
    assert found["subject"]["words"] == ["hound", "whelp", "cur"]
    # The run changed the last image map alone, and that is what the features say.
    like = {
        case["setting"].split()[0]: case["edited"]
        for case in found["verdict"]["cases"]
        if "likeness" in case["setting"]
    }
    assert like["penultimate"] > 0.999 > like["final"]
    plain = next(case for case in found["verdict"]["cases"] if case["setting"] == "by its name")
    assert plain["edited"] == 0


@pytest.mark.parametrize(
    "option", [["--template", "the {}"], ["--beside", "cat"], ["--model", "clip"], ["--out", "a.json"]]
)
def test_what_a_run_has_of_its_own_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert run(["audit", str(folder), *option]) == 2
    error, hint = said(capsys)[1].strip().splitlines()
    assert error == f"error: {option[0]} goes with two models, not with a run"
    assert hint == f"hint: leave {option[0]} out, or RUN"


def test_classes_forgotten_beside_it_are_no_control(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["audit", "--model", world.model, "--against", world.model, "--class", "dog", "--eval", world.data]
    controls = []
    for beside in ("cat", "fox"):
        out = tmp_path / f"{beside}.json"
        assert run([*asked, "--beside", beside, "--attack", "plain", "--workers", "0", "--out", str(out)]) in (0, 1)
        controls.append(json.loads(out.read_text(encoding="utf-8"))["subject"]["control"])
    assert controls == ["fox", "cat"]
    said(capsys)


def test_an_attack_that_breaks_leaves_the_others_and_an_exit_code(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Retrieval, "run", broken)
    monkeypatch.setattr(Plain, "run", lambda *_, **__: ())
    out = tmp_path / "audit.json"
    asked = ["audit", "--model", world.model, "--against", world.model, "--class", "dog", "--eval", world.data]
    assert run([*asked, "--attack", "retrieval", "--workers", "0", "--out", str(out)]) == 1
    assert "incomplete: retrieval failed, and says nothing: RuntimeError: out of memory" in said(capsys)[1]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["verdict"]["revived"], found["verdict"]["incomplete"]) == (False, ["retrieval"])
    # Another class is kept off, before anything is tried.
    assert run([*["cat" if word == "dog" else word for word in asked], "--out", str(out)]) == 2
    assert "holds an audit of another subject: its class is 'dog'" in said(capsys)[1]
    assert json.loads(out.read_text(encoding="utf-8")) == found


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["--model", "clip"], "without RUN an audit needs --against, --class, --eval", "give a run folder, or"),
        (["nowhere"], "'nowhere' is not a run folder", "give what --out named"),
        (["--attack", "prob"], "there is no attack 'prob'", "did you mean probe?"),
        (["--out", "here"], "here does not end in .json", "give --out a file that ends in .json"),
        (["--eval", "none.csv"], "'none.csv' does not exist", "give a parquet file"),
    ],
)
def test_bad_input_is_one_error_and_one_hint(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str
) -> None:
    whole = ["--model", world.model, "--against", world.model, "--class", "dog", "--eval", world.data]
    asked = arguments if arguments[0] in ("--model", "nowhere") else [*whole, *arguments]
    assert run(["audit", *asked]) == 2
    first, second = said(capsys)[1].strip().splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith(f"hint: {hint}")
