"""What a person may get wrong: one error and one hint, exit code 2, and everything is as it was."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import efface
from efface.cli import run
from efface.pretraining.toml import to_toml
from tests.cli.asking import said
from tests.disk import full_after, small_disk, tree
from tests.hub_cache import online
from tests.keys import write_keys
from tests.pretraining.recipes import tables
from tests.tiny_transformers import write_transformers
from tests.worlds import NAMES, World

Row = tuple[str, str, str]
"""A command line, and what stands in its error and in its hint."""

# A line that is right, by its verb: options after it take the place of those in it.
FORGET = "forget --model clip --class dog --classnames names.txt --eval pictures --method projection --out new"
EVALUATE = "evaluate clip --eval pictures --workers 0"
EXPORT = "export clip --to open_clip --out new"
VERIFY = "verify run --workers 0"
CHECK = "check --model run/model --against run --workers 0"
PRETRAIN = "pretrain recipe.toml --out new --device cpu --workers 0"
# What a model may be given for.
MODELS = (
    "forget --model {} --class dog --classnames names.txt --out new",
    "evaluate {} --eval pictures",
    "evaluate clip --eval pictures --workers 0 --against {}",
    "export {} --to open_clip --out new",
    "verify run --rerun --workers 0 --base {}",
    "check --model {} --against run --workers 0",
)
DATA = (
    "forget --model clip --class dog --classnames names.txt --method projection --workers 0 --out new --eval {}",
    "evaluate clip --workers 0 --eval {}",
    "verify run --workers 0 --eval {}",
    "check --model run/model --against run --workers 0 --eval {}",
    "pretrain recipe.toml --device cpu --workers 0 --out new --set data.train={}",
)
RUNS = (
    "verify {}",
    "check --model clip --against {}",
    "report {}",
    "report run --against {}",
    "push {} --repo me/clip",
    "sign {} --key key.pem",
)
TEMPLATES = (FORGET + " --template", EVALUATE + " --template")
CLASSNAMES = ("forget --model clip --class dog --out new --classnames {}",)
OUTS = (
    "forget --model clip --class dog --classnames names.txt --out {}",
    "evaluate clip --eval pictures --out {}",
    "export clip --to open_clip --out {}",
    "pretrain recipe.toml --out {}",
    "demo --out {}",
    "report run --out {}",
)
PLACES = (*OUTS, "check --model clip --against run --junit {}")
DEVICES = (
    "forget --model clip --class dog --classnames names.txt --out new --device {}",
    "evaluate clip --eval pictures --device {}",
    "verify run --rerun --workers 0 --device {}",
    "check --model run/model --against run --workers 0 --device {}",
    "pretrain recipe.toml --out new --workers 0 --device {}",
    "demo --out new --device {}",
)


def _each(lines: tuple[str, ...], value: str, error: str, hint: str) -> Iterator[Row]:
    return ((line.format(value), error, hint) for line in lines)


ROWS: list[Row] = [
    # Models
    *_each(MODELS, "no-such", "'no-such' does not name a model that can be loaded", "write the path of a folder"),
    *_each(MODELS, "org/none", "there is no folder 'org/none', the Hub cannot be reached", "check the name and"),
    *_each(MODELS, "hf-hub:org/none", "there is no folder 'org/none', the Hub cannot be reached", "HF_HUB_OFFLINE"),
    *_each(MODELS, "builtin:nope", "no model 'nope' comes with efface", "there are symbols-rn"),
    *_each(MODELS, "builtin:symbols-vti", "no model 'symbols-vti' comes with efface", "did you mean symbols-vit"),
    *_each(MODELS, "nan", "1 tensors hold NaN or infinite values, 'logit_scale' first", "the checkpoint is damaged"),
    *_each(MODELS, "shapes", "1 weights are mismatched for its config.json, logit_scale first", "of one checkpoint"),
    *_each(
        MODELS,
        "local-dir:pickled",
        "pickle that holds more than tensors, and may run code",
        "convert it to safetensors",
    ),
    *_each(MODELS, "empty", "'empty' does not name a model that can be loaded", "write the path of a folder"),
    *_each(MODELS, "cut", "cut could not be loaded", "are of one checkpoint"),
    # Data
    *_each(DATA[:-1], "empty", "the folder 'empty' is empty", "one folder of images a class"),
    *_each(DATA[-1:], "empty", "'empty'", "one folder of images a class"),
    *_each(DATA, "nowhere", "'nowhere' does not exist", "parquet"),
    *_each(DATA, "picturse", "'picturse' does not exist", "did you mean 'pictures'?"),
    *_each(DATA, "bad.parquet", "'bad.parquet' cannot be read", "copy or write it again"),
    *_each(DATA, "none.parquet", "'none.parquet' is no parquet file", "give a parquet file"),
    *_each(DATA[:2], "broken", "the image 'cat/0.png' in 'broken'", "open it in an image viewer"),
    (DATA[0].format("broken") + " --out a/b/new", "the image 'cat/0.png' in 'broken'", "open it in an image viewer"),
    *_each(DATA[:2], "broken --on-bad-image skip", "no image of 'broken' can be decoded", ""),
    # Classes, templates
    (FORGET + " --class dgo", "the class 'dgo' is not among the 3 class names", "did you mean 'dog'?"),
    (EVALUATE + " --class dgo", "no source has an image of 'dgo'", "class names"),
    ("demo --class knigth --out new", "there is no member of the world 'knigth'", "did you mean knight or king?"),
    *_each(CLASSNAMES, "twice.txt", "in 'twice.txt': class names stand twice: 'dog'", "give each class its own name"),
    *_each(CLASSNAMES, "blank.txt", "in 'blank.txt': class name 2 is empty", "give every class a name"),
    *_each(CLASSNAMES, "nothing.txt", "in 'nothing.txt': there are no class names", "give one name a line"),
    *_each(CLASSNAMES, "pictures", "'pictures' is a folder", "give a text file with one entry a line"),
    *_each(CLASSNAMES, "none.txt", "'none.txt' does not exist", "give a text file with one entry a line"),
    *_each(tuple(f"{line} {{}}" for line in TEMPLATES), "photo", "'photo' does not exist", "write {} where the class"),
    *_each(
        tuple(f"{line} {{}}" for line in TEMPLATES),
        "plain.txt",
        "in 'plain.txt': the template 'a photo' has 0 places",
        "write {} once",
    ),
    *((f"{line} {{}}-{{}}", "has 2 places for the class name", "write {} once") for line in TEMPLATES),
    # Places
    *_each(OUTS, "taken", "taken ", "--out"),
    *_each(OUTS, "names.txt", "names.txt ", "--out"),
    *_each(PLACES, "names.txt/x", "names.txt/x cannot be made: ", "choose another place"),
    ("check --model clip --against run --junit taken", "taken is no file", "give a file, which need not exist"),
    (FORGET + " --out taken --overwrite", "taken is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out . --overwrite", "is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out empty/.. --overwrite", "is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out / --overwrite", "/ is not a run folder and is not replaced", "choose another --out"),
    (PRETRAIN + " --out taken --overwrite", "taken is not the folder of a pre-training", "choose another --out"),
    (FORGET + " --out stopped", "stopped.partial holds what a run noted that was stopped", "--resume goes on with it"),
    (FORGET + " --out odd", "odd.partial is not the working folder of a run", "move it away"),
    # Runs
    *_each(RUNS, "empty", "'empty' is not a run folder: it has no record.json", "give what --out named"),
    *_each(RUNS, "nowhere", "'nowhere' is not a run folder: it has no record.json", "give what --out named"),
    *_each(RUNS[1:], "garbled", "garbled/record.json", "efface verify says more"),
    ("sign run --key key.pub.pem", "holds no private Ed25519 key", ""),
    ("sign run --key names.txt", "names.txt", ""),
    ("verify run --key nowhere.pem", "nowhere.pem", ""),
    ("push run --repo clip", "'clip'", "owner/name"),
    # Devices
    *_each(DEVICES, "quantum", "the device 'quantum' cannot be used", "use cpu"),
    *_each(DEVICES, "cuda:99", "the device 'cuda:99' cannot be used", "use cpu"),
    *_each(DEVICES, "meta", "the device 'meta' cannot be used", "use cpu"),
    # Settings: all that are wrong at once
    (
        FORGET + " --set ridg=1 --set strength=-1 --set x=2",
        "there is no setting 'ridg'; there is no setting 'x'; strength is -1: input should be greater than",
        "did you mean ridge?; there are ridge, strength; efface methods lists every setting",
    ),
    (
        FORGET + " --method lip --set images=0 --set synthesis.rate=-1 --set synthesis.blurr=1",
        "images is 0: input should be greater than or equal to 1; there is no setting 'blurr'; rate is -1: ",
        "efface methods lists every setting",
    ),
    (FORGET + " --method lipp", "there is no method 'lipp'", "did you mean lip?"),
    (FORGET + " --preset papr", "projection has no preset 'papr'", "it has default"),
    (FORGET + " --precision fp8", "there is no precision 'fp8'", "use fp32 or bf16"),
    (FORGET + " --batch-size 0", "invalid value for '--batch-size'", "--help lists the options"),
    (EVALUATE + " --where dog", "'dog' is not of the form column=value", "write --where COLUMN=VALUE"),
    (EXPORT + " --to onnx", "there is no format 'onnx'", "there are transformers, open_clip"),
    (CHECK + " --margin 2", "invalid value for '--margin'", "--help lists the options"),
    (VERIFY + " --tolerance nan", "invalid value for '--tolerance'", "--help lists the options"),
    (
        PRETRAIN + " --set training.step=1 --set data.trian=x --set x.y=1",
        "there is no data.trian; there is no training.step; there is no x",
        "",
    ),
    ("demo --tower vitt --out new", "there is no tower 'vitt'", "did you mean vit?"),
    (EVALUATE + " --out \udcff", "the argument '\\udcff' is no UTF-8 text", "in UTF-8"),
]


@pytest.fixture(scope="module")
def material(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the rows name."""
    folder = tmp_path_factory.mktemp("material")
    write_transformers(folder / "clip")
    shutil.copytree(world.data, folder / "pictures")
    shutil.copyfile(world.names, folder / "names.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = efface.forget(efface.load("clip"), "dog", among=NAMES, method="projection", data=["pictures"])
        made.save("run")
    write_keys(folder)
    for name, text in (
        ("twice.txt", "dog\ncat\ndog\n"),
        ("blank.txt", "dog\n\ncat\n"),
        ("nothing.txt", ""),
        ("plain.txt", "a photo\n"),
        ("none.parquet", "dog"),
        ("recipe.toml", to_toml(tables("pictures"))),
        ("taken/letter.txt", "dear"),
        ("garbled/record.json", '{"schema": 1}'),
        ("stopped.partial/method/00000001.checkpoint", ""),
        ("odd.partial/request.json", "{}"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "bad.parquet").write_bytes(b"PAR1" + bytes(range(200)))
    (folder / "empty").mkdir()
    shutil.copytree(folder / "pictures", folder / "broken")
    for image in (folder / "broken").glob("*/*"):
        image.write_bytes(b"broken")
    _write_models(folder, world)
    return folder


def _write_models(folder: Path, world: World) -> None:
    for name in ("nan", "shapes", "cut"):
        shutil.copytree(folder / "clip", folder / name)
    state = load_file(folder / "clip" / "model.safetensors")
    scale = {"logit_scale": torch.tensor(float("nan"))}
    save_file(state | scale, folder / "nan" / "model.safetensors", {"format": "pt"})
    save_file(state | {"logit_scale": torch.ones(7)}, folder / "shapes" / "model.safetensors", {"format": "pt"})
    weights = folder / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    base = Path(world.model.removeprefix("local-dir:"))
    (folder / "pickled").mkdir()
    shutil.copy(base / "open_clip_config.json", folder / "pickled")
    torch.save({"x": Harmful()}, folder / "pickled" / "open_clip_pytorch_model.bin")


class Harmful:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harmed"),)


@pytest.fixture
def here(material: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(material)
    return material


def _refused(asked: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The error and the hint of a command that is refused."""
    assert run(asked) == 2
    _, err = said(capsys)
    lines = [line for line in err.splitlines() if line.startswith(("error", "hint", "Trace"))]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], err
    return lines[0], lines[1]


@pytest.mark.parametrize(("line", "error", "hint"), ROWS, ids=[row[0] for row in ROWS])
def test_it_is_refused_in_two_lines_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, error: str, hint: str
) -> None:
    before = tree(here)
    told = _refused(line.split(" "), capsys)
    assert error in told[0]
    assert hint in told[1]
    assert tree(here) == before


def test_a_hub_that_nobody_answers_for_is_refused_so(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    online(monkeypatch, "http://127.0.0.1:9")
    before = tree(here)
    for line in MODELS:
        error, hint = _refused(line.format("org/none").split(), capsys)
        assert "the Hub cannot be reached" in error
        assert "check the name and the network" in hint
    assert tree(here) == before


WRITE = (
    FORGET + " --workers 0",
    EVALUATE + " --out deep/new",
    EXPORT,
    "report run",
    "report run --out deep/page.html",
    "sign run --key key.pem",
    CHECK + " --junit deep/junit.xml",
    PRETRAIN + " --set training.steps=1",
)


@pytest.fixture
def copy(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the working folder that a test may change."""
    folder = shutil.copytree(material, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("size", [0, 300])
@pytest.mark.parametrize("line", WRITE)
def test_a_disk_that_fills_leaves_nothing(copy: Path, capsys: pytest.CaptureFixture[str], line: str, size: int) -> None:
    before = tree(copy)
    with full_after(size):
        error, hint = _refused(line.split(), capsys)
    assert "File too large" in error
    assert "nothing half-written was left" in hint
    assert tree(copy) == before


class Full:
    """The system's calls that write, of which one fails as on a full disk."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for holder, name in ((Path, "write_text"), (Path, "mkdir"), (os, "replace"), (os, "rename")):
            patch.setattr(holder, name, self._failing(getattr(holder, name)))

    def _failing(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *given: object, **more: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, *given, **more)

        return call


@pytest.mark.parametrize("line", WRITE[:-1])
def test_no_write_that_fails_leaves_anything(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    before = tree(copy)
    for at in (1, 2, 3, 5, 8):
        with monkeypatch.context() as patch:
            full = Full(patch, at)
            code = run(line.split())
        if full.left > 0:  # it writes less often
            assert code == 0
            break
        assert code == 2
        error, hint = (one for one in said(capsys)[1].splitlines() if one.startswith(("error", "hint")))
        assert "No space left on device" in error
        assert "nothing half-written was left" in hint
        assert tree(copy) == before


def test_a_real_disk_that_is_full_leaves_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(copy / "disk", 64 * 1024):
        for line in (FORGET + " --workers 0 --out disk/a/new", EXPORT + " --out disk/a/new"):
            error, _ = _refused(line.split(), capsys)
            assert "No space left on device" in error
            assert list((copy / "disk").iterdir()) == []
