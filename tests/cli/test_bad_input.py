"""What a person may get wrong: one error and one hint, exit code 2, and everything is as it was."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import efface
from efface import checkpoints
from efface.cli import run
from efface.pretraining.toml import to_toml
from tests.cli.asking import said
from tests.disk import Full, full_after, small_disk, tree
from tests.hub_cache import online
from tests.keys import write_keys
from tests.pretraining.recipes import tables
from tests.tiny_transformers import write_transformers
from tests.worlds import NAMES, World

Row = tuple[str, str, str]
"""A command line, its error and its hint; three dots in them stand for any text, of a library say."""

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
)
TRAIN = ("pretrain recipe.toml --device cpu --workers 0 --out new --set data.train={}",)
RUNS = (
    "verify {}",
    "check --model clip --against {}",
    "report {}",
    "report run --against {}",
    "push {} --repo me/clip",
    "sign {} --key key.pem",
)
TEMPLATES = (FORGET + " --template {}", EVALUATE + " --template {}")
CLASSNAMES = ("forget --model clip --class dog --out new --classnames {}",)
REPLACED = ("forget --model clip --class dog --classnames names.txt --out {}", "demo --out {}")
KEPT = ("evaluate clip --eval pictures --out {}", "export clip --to open_clip --out {}")
PRETRAINED = ("pretrain recipe.toml --out {}",)
PAGE, JUNIT = ("report run --out {}",), ("check --model clip --against run --junit {}",)
DEVICES = (
    "forget --model clip --class dog --classnames names.txt --out new --device {}",
    "evaluate clip --eval pictures --device {}",
    "verify run --rerun --workers 0 --device {}",
    "check --model run/model --against run --workers 0 --device {}",
    "pretrain recipe.toml --out new --workers 0 --device {}",
    "demo --out new --device {}",
)
MEMORY = (FORGET + " --max-memory {}", EVALUATE + " --max-memory {}")

NO_MODEL = (
    "write the path of a folder in the format of transformers or open_clip, org/repo for a model on the Hub, "
    "NAME:TAG such as ViT-B-32:openai, or builtin:NAME"
)
NO_HUB = "check the name and the network (is HF_HUB_OFFLINE set?), or give the path of a folder"
BUILTIN = "there are symbols-rn, ..., symbols-vit-without-knight-notation"
FORMATS = (
    "give a parquet file, a folder of parquet shards, a folder with one folder of images a class, or one of folders:, "
    "..., symbols:"
)
TRAINED = "give parquet files with a column of captions or labels, a folder with metadata.csv, or class folders"
NO_PARQUET = "give a parquet file, a folder of parquet shards, or a folder with one folder of images a class"
NO_TEMPLATE = "write {} where the class name goes, or give a file of templates, or one of imagenet, ..., ucf101"
NO_DEVICE = "use cpu, or cuda where there is one"
NO_SIZE = "write a number and a unit, such as 4GB or 500MiB"
OPTIONS = "efface COMMAND --help lists the options"
TAKEN = "choose another --out, or replace it with --overwrite"


def _each(lines: tuple[str, ...], value: str, error: str, hint: str) -> Iterator[Row]:
    return ((line.replace("{}", value), error, hint) for line in lines)


def _absent(repo: str, config: str) -> str:
    return (
        f"there is no folder {repo!r}, the Hub cannot be reached, and its cache on this machine holds no {config} of a "
        f"model {repo!r}"
    )


AT_ONCE: list[Row] = [
    # Models
    *_each(MODELS, "no-such", "'no-such' does not name a model that can be loaded", NO_MODEL),
    *_each(MODELS, "empty", "'empty' does not name a model that can be loaded", NO_MODEL),
    *_each(MODELS, "org/none", _absent("org/none", "config.json or open_clip_config.json"), NO_HUB),
    *_each(MODELS, "hf-hub:org/none", _absent("org/none", "open_clip_config.json"), NO_HUB),
    *_each(MODELS, "builtin:nope", "no model 'nope' comes with efface", BUILTIN),
    *_each(
        MODELS, "builtin:symbols-vti", "no model 'symbols-vti' comes with efface", "did you mean symbols-vit or ...?"
    ),
    *_each(
        MODELS,
        "local-dir:clip",
        "clip has no open_clip_config.json: it holds config.json, ...",
        "give a folder in open_clip's format",
    ),
    # Data
    *_each(DATA, "empty", "the folder 'empty' is empty", FORMATS),
    *_each(TRAIN, "empty", "the folder 'empty' is empty", TRAINED),
    *_each(DATA, "nowhere", "'nowhere' does not exist", FORMATS),
    *_each(TRAIN, "nowhere", "'nowhere' does not exist", TRAINED),
    *_each(DATA, "picturse", "'picturse' does not exist", f"did you mean 'pictures'? {FORMATS}"),
    *_each(TRAIN, "picturse", "'picturse' does not exist", f"did you mean 'pictures'? {TRAINED}"),
    *_each(
        (*DATA, *TRAIN),
        "bad.parquet",
        "'bad.parquet' cannot be read: it does not end as a parquet file does",
        "copy or write it again",
    ),
    *_each((*DATA, *TRAIN), "none.parquet", "'none.parquet' is no parquet file", NO_PARQUET),
    (EVALUATE + " --where dog", "'dog' is not of the form column=value", "write --where COLUMN=VALUE"),
    # Classes, templates
    (FORGET + " --class dgo", "the class 'dgo' is not among the 3 class names", "did you mean 'dog'?"),
    (FORGET + " --class dog", "the class 'dog' is to be forgotten twice", "give it once"),
    (
        FORGET + " --alias cat",
        "the alias 'cat' is one of the class names",
        "to forget it too give it as a class, --class 'cat'; else take it from the class names",
    ),
    (FORGET + " --alias hound --alias hound", "the alias 'hound' is given twice", "give it once"),
    (FORGET + " --phrase=", "a phrase is empty", "give some words"),
    (
        FORGET + " --class fox --alias hound",
        "the alias 'hound' does not say which of the 2 classes it is of",
        "write --alias 'dog'='hound', or another of the classes",
    ),
    (FORGET + " --class fox --phrase cat=x", "the phrase 'cat=x' does not say which of the 2 classes it is of", "..."),
    (FORGET + " --method lip --images nowhere", "'nowhere' does not exist", FORMATS),
    ("demo --class knigth --out new", "there is no member of the world 'knigth'", "did you mean knight or king?"),
    ("demo --tower vitt --out new", "there is no tower 'vitt'", "did you mean vit?"),
    *_each(CLASSNAMES, "twice.txt", "in 'twice.txt': class names stand twice: 'dog'", "give each class its own name"),
    *_each(CLASSNAMES, "blank.txt", "in 'blank.txt': class name 2 is empty", "give every class a name"),
    *_each(CLASSNAMES, "nothing.txt", "in 'nothing.txt': there are no class names", "give one name a line"),
    *_each(CLASSNAMES, "pictures", "'pictures' is a folder", "give a text file with one entry a line"),
    *_each(
        CLASSNAMES,
        "none.txt",
        "'none.txt' does not exist",
        "did you mean 'nothing.txt'? give a text file with one entry a line",
    ),
    *_each(TEMPLATES, "photo", "'photo' does not exist", NO_TEMPLATE),
    *_each(
        TEMPLATES,
        "plain.txt",
        "in 'plain.txt': the template 'a photo' has 0 places for the class name",
        "write {} once, as in 'a photo of a {}.'",
    ),
    *_each(
        TEMPLATES,
        "{}-{}",
        "the template '{}-{}' has 2 places for the class name",
        "write {} once, as in 'a photo of a {}.'",
    ),
    # Places
    *_each(REPLACED, "taken", "taken exists", "choose another --out"),
    *_each(REPLACED, "names.txt", "names.txt exists", "choose another --out"),
    (FORGET + " --out run", "run exists", TAKEN),
    *_each(KEPT, "taken", "taken exists", "choose another --out"),
    *_each(KEPT, "names.txt", "names.txt exists", "choose another --out"),
    *_each(PRETRAINED, "taken", "taken is not the folder of a pre-training", "choose another --out"),
    *_each(PRETRAINED, "names.txt", "names.txt is not the folder of a pre-training", "choose another --out"),
    *_each(
        (*REPLACED, *KEPT, *PRETRAINED),
        "names.txt/x",
        "names.txt/x cannot be made: .../names.txt is a file",
        "choose another --out",
    ),
    *_each(PAGE, "taken", "taken is a folder", "give --out a file that ends in .html"),
    *_each(PAGE, "names.txt", "names.txt does not end in .html", "give --out a file that ends in .html"),
    *_each(
        PAGE, "names.txt/x.html", "names.txt/x.html cannot be made: .../names.txt is a file", "choose another --out"
    ),
    *_each(JUNIT, "taken", "taken is a folder", "give --junit a file that ends in .xml"),
    *_each(JUNIT, "names.txt", "names.txt does not end in .xml", "give --junit a file that ends in .xml"),
    *_each(
        JUNIT, "names.txt/x.xml", "names.txt/x.xml cannot be made: .../names.txt is a file", "choose another --junit"
    ),
    (FORGET + " --out taken --overwrite", "taken is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out . --overwrite", "... is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out empty/.. --overwrite", "... is not a run folder and is not replaced", "choose another --out"),
    (FORGET + " --out / --overwrite", "/ is not a run folder and is not replaced", "choose another --out"),
    (PRETRAIN + " --out taken --overwrite", "taken is not the folder of a pre-training", "choose another --out"),
    (EVALUATE + " --out \udcff", "the argument '\\udcff' is no UTF-8 text", "write it, or call the file, in UTF-8"),
    # Runs
    *_each(RUNS, "empty", "'empty' is not a run folder: it has no record.json", "give what --out named"),
    *_each(RUNS, "nowhere", "'nowhere' is not a run folder: it has no record.json", "give what --out named"),
    ("verify run --key nowhere.pem", "there is no key file 'nowhere.pem'", "give a PEM file"),
    ("push run --repo clip", "'clip' cannot be the name of a repository", "write owner/name"),
    # Sizes, numbers and formats
    *(
        row
        for size in ("4", "GB", "-4GB", "0GB", "0.1B", "4XB", "nan")
        for row in _each(MEMORY, size, f"{size!r} is no size of memory", NO_SIZE)
    ),
    (
        FORGET + " --batch-size 0",
        "invalid value for '--batch-size': Input should be greater than or equal to 1",
        OPTIONS,
    ),
    (CHECK + " --margin 2", "invalid value for '--margin': Input should be less than or equal to 0.99", OPTIONS),
    (VERIFY + " --tolerance nan", "invalid value for '--tolerance': Input should be less than or equal to 1", OPTIONS),
    (EXPORT + " --to onnx", "there is no format 'onnx'", "there are transformers, open_clip"),
    (EVALUATE + " --on-bad-image leave", "invalid value for '--on-bad-image': ...", OPTIONS),
    (EVALUATE + " --evla pictures", "no such option: --evla (Possible options: --eval, ...)", OPTIONS),
]
"""What is refused before torch or another library that takes seconds is imported."""

ONCE_TORCH_IS_THERE: list[Row] = [
    *_each(DEVICES, "quantum", "the device 'quantum' cannot be used: Expected one of cpu, cuda, ...", NO_DEVICE),
    *_each(DEVICES, "cuda:99", "the device 'cuda:99' cannot be used: ...", NO_DEVICE),
    *_each(DEVICES, "hpu", "the device 'hpu' cannot be used: No module named 'torch.hpu'", NO_DEVICE),
    *_each(
        DEVICES, "meta", "the device 'meta' cannot be used: Tensor.item() cannot be called on meta tensors", NO_DEVICE
    ),
    # Settings: all that are wrong at once
    (
        FORGET + " --set ridg=1 --set strength=-1 --set x=2",
        "there is no setting 'ridg'; there is no setting 'x'; strength is -1: input should be greater than or equal to "
        "0",
        "did you mean ridge?; there are ridge, strength; efface methods lists every setting",
    ),
    (
        FORGET + " --method lip --set images=0 --set synthesis.rate=-1 --set synthesis.jiter=1",
        "images is 0: input should be greater than or equal to 1; there is no setting 'jiter'; rate is -1: input "
        "should be greater than 0",
        "efface methods lists every setting; did you mean jitter?",
    ),
    (
        FORGET + " --images pictures",
        "projection works on no images: those in 'pictures' would change nothing",
        "leave --images out, or choose a method that asks for images: efface methods lists them",
    ),
    (
        FORGET + " --method lip --images pictures --set synthesis.rate=1",
        "with --images none of the class are made: synthesis.rate would change nothing",
        "leave it out",
    ),
    (
        FORGET + " --hierarchy groups.tsv",
        "projection asks for no images of siblings: a hierarchy would change nothing",
        "leave --hierarchy out, or choose a method that asks for such images, such as lip or subgroup",
    ),
    (FORGET + " --method lipp", "there is no method 'lipp'", "did you mean lip?"),
    (FORGET + " --preset papr", "projection has no preset 'papr'", "it has default"),
    (
        PRETRAIN + " --set training.step=1 --set data.trian=x --set x.y=1",
        "there is no data.trian; there is no training.step; there is no x",
        "did you mean train?; did you mean steps?; there are model, pixels, data, training, tokenizer",
    ),
]
"""What torch, or a class that is built on it, is asked about first."""

LATER: list[Row] = [
    # Models: their small files, and weights, are read by the library that they are of
    *_each(
        MODELS,
        "ViT-B-32:opnai",
        "...open_clip has no weights 'opnai' for ViT-B-32",
        "...did you mean openai? its tags are openai, ...",
    ),
    *_each(
        MODELS,
        "nan",
        "...nan: 1 tensors hold NaN or infinite values, 'logit_scale' first",
        "...the checkpoint is damaged or its training diverged; use another one",
    ),
    *_each(
        MODELS,
        "shapes",
        "...shapes could not be loaded: 1 weights are mismatched for its config.json, logit_scale first",
        "...check that configuration, weights, tokenizer and image processor are of one checkpoint",
    ),
    *_each(
        MODELS,
        "local-dir:pickled",
        "...local-dir:pickled could not be loaded: its weights are a pickle that holds more than tensors, and may run "
        "code",
        "...convert it to safetensors where it comes from",
    ),
    *_each(
        MODELS,
        "cut",
        "...cut could not be loaded: Error while deserializing header: ...",
        "...check that configuration, weights, tokenizer and image processor are of one checkpoint",
    ),
    (FORGET + " --precision fp8", "there is no precision 'fp8'", "use fp32 or bf16"),
    # Data
    *_each(
        DATA[:2],
        "broken",
        "the image 'cat/0.png' in 'broken' cannot be decoded: its bytes are no image format that Pillow reads by "
        "itself",
        "open it in an image viewer, then replace it or take it out of the data; "
        "to measure without it, --on-bad-image skip",
    ),
    (
        DATA[0].replace("{}", "broken") + " --out a/b/new",
        "the image 'cat/0.png' in 'broken' cannot be decoded: ...",
        "open it in an image viewer, then replace it or take it out of the data; "
        "to measure without it, --on-bad-image skip",
    ),
    *_each(
        DATA[:2],
        "broken --on-bad-image skip",
        "no image of 'broken' can be decoded",
        "look at one of them in an image viewer",
    ),
    *_each(DATA[:2], "pictures --eval pictures", "the images 'pictures' are given twice", "give them once"),
    (
        FORGET + " --method lip --images pictures",
        "'pictures' holds the images that judge the result",
        "give others to work on",
    ),
    (FORGET + " --method lip --images symbols:forget", "'symbols:forget' has no image of 'dog'", "..."),
    (EVALUATE + " --class dgo", "no source has an image of 'dgo'", "did you mean dog?"),
    # Runs that were stopped, or are finished
    (
        FORGET + " --out stopped",
        "stopped.partial holds what a run noted that was stopped",
        "--resume goes on with it; to begin anew, remove that folder, or choose another --out",
    ),
    (FORGET + " --out stopped --method lipp", "there is no method 'lipp'", "did you mean lip?"),
    *_each(
        (FORGET + " --out odd{}",),
        " --resume",
        "odd.partial is not the working folder of a run, or is damaged",
        "move it away",
    ),
    *_each(
        (FORGET + " --out odd{}",), "", "odd.partial is not the working folder of a run, or is damaged", "move it away"
    ),
    (
        FORGET + " --out begun --resume --class cat --seed 2",
        "begun.partial holds what was noted of another request: ...seed... differ",
        "ask for the same, with all files of the model as they were, to go on; "
        "--overwrite without --resume deletes it, and begins anew",
    ),
    (
        FORGET + " --out run --resume --class cat --set ridge=2",
        "run holds a finished run of another request: ... differ",
        "ask for the same to see it again, or choose another --out; --resume --overwrite makes the one that is asked "
        "for now, from its notes if there are any, and replaces that one",
    ),
    # Runs
    *_each(
        RUNS[1:],
        "garbled",
        "'garbled/record.json': the record cannot be used: its schema is 1, this version of efface knows "
        "'efface/record/...'",
        "efface verify says more",
    ),
    (
        "sign run --key key.pub.pem",
        "'key.pub.pem' holds no private Ed25519 key in PEM form: ...",
        "this is a public key: sign wants the private one, verify the public one",
    ),
    (
        "sign run --key names.txt",
        "'names.txt' holds no private Ed25519 key in PEM form: ...",
        "make one with openssl genpkey -algorithm ed25519 -out key.pem",
    ),
]
"""What shows when a file is read."""
ROWS = (*AT_ONCE, *ONCE_TORCH_IS_THERE, *LATER)


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
        # A run that is stopped before it is saved.
        patch.setattr(checkpoints, "EVERY", 0.0)
        efface.forget(
            efface.load("clip"), "dog", among=NAMES, method="projection", data=["pictures"], working="begun.partial"
        )
    write_keys(folder)
    for name, text in (
        ("twice.txt", "dog\ncat\ndog\n"),
        ("blank.txt", "dog\n\ncat\n"),
        ("nothing.txt", ""),
        ("plain.txt", "a photo\n"),
        ("none.parquet", "dog"),
        ("groups.tsv", "dog\tpet\ncat\tpet\n"),
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


def _is(said: str, expected: str) -> bool:
    """Whether a line is as expected, where three dots stand for any text."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), said) is not None


@pytest.mark.parametrize(("line", "error", "hint"), ROWS, ids=[row[0] for row in ROWS])
def test_it_is_refused_in_two_lines_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, error: str, hint: str
) -> None:
    before = tree(here)
    told = _refused(line.split(" "), capsys)
    assert _is(told[0], f"error: {error}"), told[0]
    assert _is(told[1], f"hint: {hint}"), told[1]
    assert tree(here) == before


# In a process of its own: how many of the lines were refused, and the heavy libraries that were imported for them; then
# whether that of transformers which takes longest comes with the backends alone.
FRESH = """
import json, sys
from efface.cli import run
for lines in json.load(sys.stdin):
    codes = [run(line.split(" ")) for line in lines]
    heavy = {"torch", "torchvision", "open_clip", "transformers", "datasets", "accelerate"}
    print(codes.count(2), *sorted(heavy & sys.modules.keys()))
import efface.backends
print("transformers.models.clip.modeling_clip" in sys.modules)
"""


@pytest.mark.slow
def test_what_can_be_told_at_once_waits_for_no_import(here: Path) -> None:
    """Each import takes seconds: without them, and where only torch is there, an answer stays below five."""
    asked = [[line for line, _, _ in rows] for rows in (AT_ONCE, ONCE_TORCH_IS_THERE)]
    command = [sys.executable, "-c", FRESH]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=here)
    expected = [f"{len(AT_ONCE)}", f"{len(ONCE_TORCH_IS_THERE)} accelerate torch", "False"]
    assert done.stdout.splitlines() == expected


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


def test_a_run_that_another_process_works_on_is_left_to_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.1)
    with checkpoints.Working(here / "busy.partial", {}):
        before = tree(here)
        for line in (FORGET + " --out busy --resume", FORGET + " --out busy --overwrite", FORGET + " --out busy"):
            error, hint = _refused(line.split(), capsys)
            assert error == "error: another process works in busy.partial"
            assert hint == "hint: let it end, save or drop a run that this program has there, or choose another --out"
        assert tree(here) == before


WRITE = (
    FORGET + " --workers 0",
    EVALUATE + " --out deep/new",
    EXPORT,
    "report run",
    "report run --out deep/page.html",
    "sign run --key key.pem",
    CHECK + " --notice 1 --junit deep/junit.xml",
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
