"""Command lines and inputs, drawn: some right, most with a fault or two."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from efface.data.formats import FORMATS
from tests.fuzz.material import DRAWN, KINDS, NAMES, WORLD, Bytes, Content, Edit, Header, Json, Table

Text = st.SearchStrategy[str]


@dataclass(frozen=True, slots=True)
class Input:
    """What an option is given: its text, and what must be on disk for that."""

    text: str
    files: Mapping[str, Content] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """A command line, and files for it.

    Attributes:
        arguments: of the command.
        files: by their path in the folder of what is drawn.
        copies: folders of the world that are copied there first.
        outputs: paths below the working folder that the command may make or change where it is not refused.
        notes: those that it may change where it is refused too: what a run noted, that goes on or begins anew.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, Content]
    copies: Mapping[str, str]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


# What an operating system can hand over: anything but a null; bytes that are no UTF-8 come as lone surrogates.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
BYTES_OF_NO_TEXT = st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), min_size=1, max_size=3)
SCRIPTS = st.sampled_from(
    [
        "собака",
        "犬",
        "كلب",
        "कुत्ता",
        "σκύλος",
        "🐕",
        "e\u0301",
        "\u202edog",
        "dog\u200b",
        "d\x1b[31mog",
        "a\nb",
        "[b]x[/b]",
    ]
)
ODD = st.sampled_from(["", " ", "{}", "..", "/", "~", "~nobody/x", "nan", "-1", "1e9", "x" * 300, "'", ":", "=", "a/b"])
ANY = st.one_of(WORDS, SCRIPTS, ODD, BYTES_OF_NO_TEXT)
NUMBERS = st.one_of(st.integers(-2, 3).map(str), st.floats().map(str), ANY)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(WORDS, inside, max_size=3),
    max_leaves=5,
)
EDITS = st.lists(
    st.builds(
        Edit,
        at=st.integers(-400, 4000) | st.integers(0, 40),
        cut=st.integers(0, 3) | st.sampled_from([0, 1, 50, 10**6]),
        put=st.binary(max_size=4),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
CLASSES = st.one_of(st.sampled_from(NAMES), ANY)
PLACES = st.one_of(
    st.sampled_from([f"{WORLD}/pictures", f"{WORLD}/names.txt", f"{WORLD}/run", WORLD, ".", "in", "nowhere"]),
    ANY.filter(lambda text: "/" not in text and ".." not in text and "~" not in text),
)


def _given(text: Text) -> st.SearchStrategy[Input]:
    return text.map(Input)


def _file(name: str, contents: st.SearchStrategy[Any], text: str = "{}") -> st.SearchStrategy[Input]:
    path = f"{DRAWN}/{name}"
    return contents.map(lambda content: Input(text.replace("{}", path), {name: content}))


def _damaged(base: str) -> st.SearchStrategy[Bytes]:
    return st.builds(Bytes, st.just(base), EDITS)


def _changed(base: str) -> st.SearchStrategy[Json]:
    values = JSONS | st.sampled_from([-1, 2**63, "", [], {}])
    return st.builds(Json, st.just(base), st.integers(0, 2000), st.sampled_from(["replace", "remove", "add"]), values)


def _of_text(text: Text) -> st.SearchStrategy[Bytes]:
    return text.map(lambda found: Bytes(edits=(Edit(0, 0, found.encode("utf-8", "surrogateescape")),)))


def _in_copy(folder: str, name: str, contents: st.SearchStrategy[Any], text: str = "{}") -> st.SearchStrategy[Input]:
    """A folder of the world with one file of it changed."""
    path = f"{DRAWN}/{folder}"
    return contents.map(
        lambda content: Input(text.replace("{}", path), {f"{folder}/{name}": content}, {folder: folder})
    )


def _names(path: str, text: str) -> st.SearchStrategy[Input]:
    """Folders of images that are called as drawn; of what no folder can be called, less."""

    def written(names: list[str]) -> Input:
        fits = [name.replace("/", "_")[:50] for name in names if name not in {"", ".", ".."}]
        place = text if ":" in text else f"{DRAWN}/{text}"
        return Input(place, {path.format(name): Bytes("images/one.png") for name in fits})

    return st.lists(CLASSES, min_size=1, max_size=3).map(written)


LISTS = st.lists(CLASSES, max_size=5).map("\n".join)
NAME_FILES = st.one_of(
    _given(st.just(f"{WORLD}/names.txt")),
    _given(PLACES),
    _file("names.txt", _of_text(LISTS)),
    _file("names.txt", _of_text(LISTS.map(lambda text: f"dog\ncat\n{text}"))),
    _file("names.txt", _damaged("names.txt")),
)
TEMPLATES = st.one_of(
    _given(st.one_of(ANY, ANY.map("{} {{}}".format), PLACES)),
    _file("templates.txt", _of_text(st.lists(ANY | st.just("a {}"), max_size=3).map("\n".join))),
    _file("templates.json", _changed("templates.json"), "{}:one"),
    _file("templates.json", _damaged("templates.json"), "{}"),
    _given(st.sampled_from([f"{WORLD}/templates.txt", f"{WORLD}/templates.json:two", "cifar10", "imagenet"])),
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header of a safetensors file: tensors of the small model, and others, of any kind, shape and place."""
    names = st.sampled_from(["logit_scale", "visual_projection.weight", "text_projection.weight"]) | WORDS
    tensors = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F32", "F16", "I64", "BF16", "F8_E4M3", "X"]) | JSONS,
            "shape": st.lists(st.integers(-1, 2**40), max_size=3) | JSONS,
            "data_offsets": st.lists(st.integers(-1, 2**40), min_size=2, max_size=2) | JSONS,
        },
    )
    header = draw(st.dictionaries(names, tensors | JSONS, max_size=3))
    return json.dumps(header).encode()


_WEIGHTS = st.one_of(
    _damaged("clip/model.safetensors"),
    st.builds(
        Header,
        st.just("clip/model.safetensors"),
        headers() | st.binary(max_size=20),
        st.integers(-9, 9) | st.just(2**62),
    ),
)
MODELS = st.one_of(
    _given(st.just(f"{WORLD}/clip")),
    _given(st.sampled_from([f"local-dir:{WORLD}/open_clip", f"{WORLD}/run"])),
    _given(ANY),
    _given(PLACES),
    _given(
        st.builds(
            "{}{}".format,
            st.sampled_from(["builtin:", "local-dir:", "hf-hub:", "ViT-B-32:", "RN50:", "org/"]),
            ANY | st.sampled_from(["nope", "openai", f"{WORLD}/names.txt", f"{WORLD}/clip"]),
        )
    ),
    _in_copy("clip", "model.safetensors", _WEIGHTS),
    _in_copy("clip", "config.json", _changed("clip/config.json")),
    _in_copy("clip", "tokenizer.json", _changed("clip/tokenizer.json")),
    _in_copy("clip", "tokenizer_config.json", _changed("clip/tokenizer_config.json")),
    _in_copy("clip", "preprocessor_config.json", _changed("clip/preprocessor_config.json")),
    _in_copy("open_clip", "open_clip_config.json", _changed("open_clip/open_clip_config.json"), "local-dir:{}"),
    _file("model.pt", _damaged("clip/model.safetensors")),
)

_IMAGES = st.one_of(
    st.sampled_from(KINDS).flatmap(lambda kind: _damaged(f"images/one.{kind}")),
    st.binary(max_size=30).map(lambda content: Bytes(edits=(Edit(0, 0, content),))),
)
_CELLS = st.one_of(
    st.lists(st.integers(-1, 5), min_size=1, max_size=3),
    st.lists(JSONS, min_size=1, max_size=3),
    st.lists(
        st.fixed_dictionaries({"bytes": st.binary(max_size=9) | st.none(), "path": WORDS | st.none()}),
        min_size=1,
        max_size=3,
    ),
)


@st.composite
def parquet(draw: st.DrawFn) -> Table:
    """A table of a few rows, with columns called as those of images and labels are, or otherwise."""
    rows = draw(st.integers(0, 3))
    names = draw(
        st.lists(st.sampled_from(["image", "label", "img", "fine_label"]) | WORDS, min_size=1, max_size=3, unique=True)
    )
    columns = tuple((name, tuple((draw(_CELLS) * 3)[:rows])) for name in names)
    return Table(columns, draw(EDITS) if draw(st.integers(0, 3)) == 0 else ())


_ROWS = st.lists(
    st.sampled_from(["../world/images/one.png", "nowhere.png", "dog", "fox", '"', "a,b"]) | ANY, max_size=3
)
_CSV = st.builds(
    lambda head, rows: "\n".join(",".join(row) for row in [head, *rows]),
    st.permutations(["path", "label"]) | st.lists(ANY, max_size=3),
    st.lists(_ROWS | st.just(["../world/images/one.png", "dog"]), max_size=4),
)
DATA = st.one_of(
    _given(st.just(f"{WORLD}/pictures")),
    _given(st.sampled_from([f"{WORLD}/images.parquet", f"{WORLD}/table.csv", f"{WORLD}/saved"])),
    _given(
        st.builds(
            "{}:{}{}".format,
            st.sampled_from([*FORMATS, "symbols", "x"]),
            PLACES | st.sampled_from([f"{WORLD}/split.json", "test2", f"{WORLD}/table.csv"]),
            st.sampled_from(["", "", ",split=test", ",split=,images=x", ",nope=1", ","]),
        )
    ),
    _given(PLACES),
    _file("table.csv", _of_text(_CSV)),
    _file("table.tsv", _of_text(_CSV.map(lambda text: text.replace(",", "\t")))),
    _file("table.csv", _damaged("table.csv")),
    _file("images.parquet", parquet()),
    _file("images.parquet", _damaged("images.parquet")),
    _in_copy("pictures", "dog/0.png", _IMAGES),
    _in_copy("pictures", "dog/2.png", _IMAGES),
    _in_copy("pictures", "classnames.txt", _of_text(LISTS)),
    _names("pictures/{}/0.png", "pictures/"),
    _names("domains/photo/{}/0.png", f"domains:{DRAWN}/domains"),
    _in_copy("saved", "dataset_info.json", _changed("saved/dataset_info.json")),
    _in_copy("saved", "state.json", _changed("saved/state.json")),
    _in_copy("saved", "data-00000-of-00001.arrow", _damaged("saved/data-00000-of-00001.arrow")),
    _file("split.json", _changed("split.json"), f"coop:{{}},split=test,images={WORLD}/pictures"),
    _in_copy("shards", "test/0.tar", _damaged("shards/test/0.tar"), "wds:{}"),
    _in_copy("shards", "classnames.txt", _of_text(LISTS), "wds:{}"),
)
RUNS = st.one_of(
    _given(st.just(f"{WORLD}/run")),
    _given(PLACES),
    _in_copy("run", "record.json", _changed("run/record.json")),
    _in_copy("run", "record.json", _damaged("run/record.json")),
    _in_copy("run", "model/model.safetensors", _damaged("run/model/model.safetensors")),
    _in_copy("run", "retrieved.png", _damaged("run/retrieved.png")),
    _in_copy("run", "README.md", _of_text(ANY)),
)
KEYS = st.one_of(
    _given(st.sampled_from([f"{WORLD}/key.pem", f"{WORLD}/key.pub.pem"])),
    _given(PLACES),
    _file("key.pem", _damaged("key.pem")),
)
RECIPES = st.one_of(
    _given(st.just(f"{WORLD}/recipe.toml")),
    _file("recipe.toml", _damaged("recipe.toml")),
    _file("recipe.toml", _of_text(st.builds("{} = {}".format, WORDS, JSONS))),
    _given(PLACES),
)
_PARTS = st.lists(st.sampled_from(["a", "b", "犬", "new", "x y"]), min_size=1, max_size=4)
_FREE = st.builds(lambda top, parts: "/".join((top, *parts)), st.sampled_from(["out", "out", "fresh"]), _PARTS)
OUTPUTS = _given(st.one_of(_FREE, _FREE, PLACES, st.sampled_from([f"{WORLD}/names.txt/x", f"{WORLD}/run"])))
# Where a run was stopped, is finished, or both; what is noted of it is whole or not.
STOPPED = st.one_of(
    st.just(Input(f"{DRAWN}/begun", copies={"begun.partial": "begun.partial"})),
    st.just(Input(f"{DRAWN}/run", copies={"run": "run"})),
    st.just(Input(f"{DRAWN}/run", copies={"run": "run", "run.partial": "begun.partial"})),
    _in_copy("run", "record.json", _changed("run/record.json")),
    _in_copy("begun.partial", "request.json", _changed("begun.partial/request.json"), f"{DRAWN}/begun"),
    _in_copy("begun.partial", "request.json", _damaged("begun.partial/request.json"), f"{DRAWN}/begun"),
    *(
        _in_copy("begun.partial", name, _damaged(f"begun.partial/{name}"), f"{DRAWN}/begun")
        for name in ("method/00000001.checkpoint", "evaluation-0/00000001.checkpoint")
    ),
    _file("begun.partial/letter.txt", _of_text(WORDS), f"{DRAWN}/begun"),
)
_METHODS = _given(st.sampled_from(["projection", "lip", "lipp"]) | ANY)
_SETTING = (
    st.sampled_from(["ridge", "strength", "images", "blocks", "mixed", "leaves", "synthesis.betas", "synthesis.start"])
    | ANY
)
SETTINGS = _given(st.one_of(st.builds("{}={}".format, _SETTING, NUMBERS | JSONS.map(json.dumps)), ANY))
_RECIPE_SETTING = st.sampled_from(
    ["training.steps", "training.batch_size", "data.train", "model.family", "pixels.size", "x.y"]
)
WHERES = _given(st.one_of(st.builds("{}={}".format, st.sampled_from(["label", "x", "domain"]) | ANY, ANY), ANY))
HOW = {
    "--device": _given(st.sampled_from(["cpu", "cuda:7", "meta", "mps", "quantum", "cpu:3"]) | ANY),
    "--batch-size": _given(st.sampled_from(["1", "5"]) | NUMBERS),
    "--workers": _given(st.sampled_from(["0", "-1", "x", "0.5", ""])),
    "--on-bad-image": _given(st.sampled_from(["skip", "stop", "x"])),
}
_SIZES = _given(
    st.sampled_from(["4GB", "500MiB", "1B", "100kB", "9TB"])
    | st.builds("{}{}".format, NUMBERS, st.sampled_from(["B", "GB", "MiB", "kb", "", " GB"]))
)
# Values that are right, of which an option is given one as often as one that is drawn: a line does something then.
RIGHT: Mapping[str, Text] = {
    "--model": st.sampled_from([f"{WORLD}/clip", f"local-dir:{WORLD}/open_clip", f"{WORLD}/run/model"]),
    "--eval": st.sampled_from(
        [f"{WORLD}/images.parquet", f"{WORLD}/table.csv", f"{WORLD}/saved", f"wds:{WORLD}/shards", f"{WORLD}/pictures"]
    ),
    "--against": st.sampled_from([f"{WORLD}/clip", f"{WORLD}/run"]),
    "--class": st.sampled_from(NAMES),
    "--template": st.builds("{} {{}} {}".format, WORDS.filter(lambda text: not {"{", "}"} & set(text)), SCRIPTS),
    "--where": st.sampled_from([f"label={name}" for name in NAMES]),
    "--eval-where": st.sampled_from([f"label={name}" for name in NAMES]),
    "--seed": st.integers(0, 2**62).map(str),
    "--out": _FREE,
    "--precision": st.sampled_from(["fp32", "bf16"]),
    "--device": st.sampled_from(["cpu", "auto"]),
    "--batch-size": st.integers(1, 300).map(str),
    "--max-memory": st.integers(1, 10**13).map("{}B".format),
}
_PRECISION = _given(st.sampled_from(["bf16", "fp8"]) | ANY)


@dataclass(frozen=True, slots=True)
class Verb:
    """How a command is drawn.

    Attributes:
        places: its arguments.
        usual: options of a line that is right.
        drawn: what options are given instead or too.
        always: what is drawn for each line.
        flags: options without a value.
        results: options whose value, if it is a path, the command may write to.
        also: other paths that it may write to.
        changes_its_run: whether it may write to the folder that is its argument.
    """

    places: tuple[st.SearchStrategy[Input], ...] = ()
    usual: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, st.SearchStrategy[Input]] = field(default_factory=dict)
    always: Mapping[str, st.SearchStrategy[Input]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    results: tuple[str, ...] = ("--out",)
    also: tuple[str, ...] = ()
    changes_its_run: bool = False


_FORGET = {
    "--model": MODELS,
    "--class": _given(CLASSES),
    "--alias": _given(CLASSES),
    "--phrase": _given(CLASSES),
    "--images": DATA,
    "--retain-images": DATA,
    "--calibration-images": DATA,
    "--pool-images": DATA,
    "--hierarchy": NAME_FILES,
    "--classnames": NAME_FILES,
    "--eval": DATA,
    "--template": TEMPLATES,
    "--where": WHERES,
    "--eval-where": WHERES,
    "--seed": _given(NUMBERS),
    "--preset": _given(st.just("paper") | ANY),
    "--out": OUTPUTS,
    "--precision": _PRECISION,
    "--max-memory": _SIZES,
    **HOW,
}
_ASKED = {
    "--model": f"{WORLD}/clip",
    "--class": "dog",
    "--classnames": f"{WORLD}/names.txt",
    "--workers": "0",
    "--out": "out/new",
}
VERBS: Mapping[str, Verb] = {
    "forget": Verb(
        usual={**_ASKED, "--method": "projection"},
        drawn={**_FORGET, "--out": OUTPUTS | STOPPED},
        flags=("--overwrite", "--json", "--resume"),
        also=("runs",),
    ),
    "forget --resume": Verb(
        usual={**_ASKED, "--method": "projection", "--eval": f"{WORLD}/pictures"},
        drawn={name: drawn for name, drawn in _FORGET.items() if name != "--out"},
        always={"--out": STOPPED},
        flags=("--overwrite", "--json"),
        also=("runs",),
    ),
    # Settings are any here, and some that are right take hours: nothing is done but to look at them.
    "forget --dry-run": Verb(usual=_ASKED, drawn={**_FORGET, "--method": _METHODS, "--set": SETTINGS}),
    "evaluate": Verb(
        places=(MODELS,),
        usual={"--eval": f"{WORLD}/pictures", "--workers": "0"},
        drawn={
            "--eval": DATA,
            "--against": MODELS,
            "--class": _given(CLASSES),
            "--template": TEMPLATES,
            "--where": WHERES,
            "--forget-where": WHERES,
            "--out": OUTPUTS,
            "--precision": _PRECISION,
            "--max-memory": _SIZES,
            **HOW,
        },
        flags=("--json",),
    ),
    "export": Verb(
        places=(st.one_of(MODELS, RUNS),),
        usual={"--to": "open_clip", "--out": "out/new"},
        drawn={"--to": _given(st.just("transformers") | ANY), "--out": OUTPUTS},
        flags=("--json",),
    ),
    "report": Verb(places=(RUNS,), drawn={"--against": RUNS, "--out": OUTPUTS}, changes_its_run=True),
    "verify": Verb(
        places=(RUNS,),
        usual={"--workers": "0"},
        drawn={
            "--eval": DATA,
            "--key": KEYS,
            "--base": MODELS,
            "--tolerance": _given(NUMBERS),
            "--device": HOW["--device"],
        },
        flags=("--rerun", "--json"),
    ),
    "check": Verb(
        usual={"--model": f"{WORLD}/run/model", "--against": f"{WORLD}/run", "--workers": "0"},
        drawn={
            "--model": MODELS,
            "--against": RUNS,
            "--eval": DATA,
            "--where": WHERES,
            "--margin": _given(NUMBERS),
            "--junit": OUTPUTS,
            **HOW,
        },
        flags=("--json",),
        results=("--junit",),
    ),
    "sign": Verb(
        places=(RUNS,),
        usual={"--key": f"{WORLD}/key.pem"},
        drawn={"--key": KEYS, "--valid-until": _given(st.sampled_from(["2100-01-01", "1900-01-01"]) | ANY)},
        changes_its_run=True,
    ),
    "push": Verb(
        places=(RUNS,), usual={"--repo": "me/clip"}, drawn={"--repo": _given(ANY)}, flags=("--record", "--page")
    ),
    "pretrain": Verb(
        places=(RECIPES,),
        usual={"--out": "out/new", "--device": "cpu", "--workers": "0"},
        drawn={
            "--out": OUTPUTS,
            "--set": _given(st.builds("{}={}".format, _RECIPE_SETTING, st.sampled_from(["-1", "0", "null"]) | ANY)),
            "--device": HOW["--device"],
        },
        flags=("--resume", "--overwrite"),
    ),
    # A right one takes half a minute: none is.
    "demo --tower no-such": Verb(
        drawn={"--class": _given(CLASSES), "--method": _METHODS, "--seed": _given(NUMBERS), "--out": OUTPUTS}
    ),
    "methods": Verb(flags=("--json", "--all")),
}
# `methods` has few lines that differ.
WEIGHTS = {"forget": 5, "forget --resume": 4, "forget --dry-run": 6, "evaluate": 10, "methods": 1}
USUAL_WEIGHT = 2


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A command line with the files that it names."""
    name = draw(st.sampled_from([name for name in VERBS for _ in range(WEIGHTS.get(name, USUAL_WEIGHT))]))
    verb = VERBS[name]
    given: list[tuple[str | None, Input]] = [(None, draw(place)) for place in verb.places]
    options = {option: Input(text) for option, text in verb.usual.items()}
    options |= {option: draw(value) for option, value in verb.always.items()}
    if verb.drawn:
        for option in draw(
            st.lists(st.sampled_from(list(verb.drawn)), min_size=int(len(verb.drawn) > 3), max_size=3, unique=True)
        ):
            right = RIGHT.get(option)
            options[option] = draw(_given(right) if right is not None and draw(st.booleans()) else verb.drawn[option])
    if options and draw(st.integers(0, 15)) == 0:
        del options[draw(st.sampled_from(list(options)))]
    flags = draw(st.lists(st.sampled_from(verb.flags), max_size=2, unique=True)) if verb.flags else []
    junk = draw(st.lists(ANY, min_size=1, max_size=2)) if draw(st.integers(0, 20)) == 0 else []
    given += options.items()
    arguments = [*name.split(), *flags, *junk]
    for named, value in given:
        arguments += [value.text] if named is None else [named, value.text]
    return Case(
        arguments=tuple(arguments),
        files={path: content for _, value in given for path, content in value.files.items()},
        copies={path: base for _, value in given for path, base in value.copies.items()},
        outputs=(
            *(options[result].text for result in verb.results if result in options),
            *(value.text for named, value in given if named is None and verb.changes_its_run),
            *verb.also,
        ),
        # By either option it is asked to.
        notes=(f"{options['--out'].text}.partial",)
        if "--out" in options and {"--resume", "--overwrite"} & set(arguments)
        else (),
    )
