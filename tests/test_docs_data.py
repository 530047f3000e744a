"""Every command of docs/data.md runs, on tiny data in the layouts that it names."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import datasets
import numpy as np
import open_clip
import pytest
from datasets import ClassLabel, Features
from huggingface_hub import constants
from PIL import Image
from scipy.io import savemat

from efface import backends
from efface.cli import run
from efface.data.formats import FORMATS, MADE
from tests import hub_cache
from tests.backends.test_openai_archive import write_archive
from tests.data.hub_cache import lay_out
from tests.data.pictures import png, write
from tests.data.torchvision_layouts import LAYOUTS, accept_any_digest
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers
from tests.worlds import write_symbol_shards

PAGE = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
FENCED = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)
BLOCKS = "\n".join(block for language, block in FENCED if not language)


def commands(program: str) -> list[list[str]]:
    """The arguments of every command of the page that starts so; of a subcommand with its name."""
    first, *rest = program.split()
    split = [shlex.split(line) for line in BLOCKS.splitlines()]
    return [words[1:] for words in split if words[: 1 + len(rest)] == [first, *rest]]


def _own_pictures(root: Path) -> None:
    for gray, name in enumerate(("cat", "dog", "fox")):
        write(root / "photos" / name / "1.png", 80 * gray)
        for domain in ("Art", "Clipart"):
            write(root / "office" / domain / name / "1.jpg", 80 * gray)
    shutil.copytree(root / "photos", root / "photos-with-a-broken-one")
    (root / "photos-with-a-broken-one" / "cat" / "2.png").write_bytes(b"broken")
    for wnid in ("n01440764", "n02099601"):
        write(root / "imagenet" / "val" / wnid / "1.jpg", 9)
    (root / "list.csv").write_text("path,label,camera\nphotos/cat/1.png,cat,phone\nphotos/dog/1.png,dog,phone\n")
    for name, label in (("cat", 0), ("sea_lion", 1)):
        write(root / "zoo" / "images" / name / "1.jpg", label)
    split = [["cat/1.jpg", 0, "cat"], ["sea_lion/1.jpg", 1, "sea_lion"]]
    (root / "zoo" / "split_zhou_Zoo.json").write_text(json.dumps({"train": [], "val": split, "test": []}))
    (root / "templates.txt").write_text("a photo of a {}.\nthe {}\n")
    (root / "templates.json").write_text(json.dumps({"zoo": ["a photo of a {c}."]}))


def _own_tables(root: Path) -> None:
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])})
    cells = [{"bytes": png(gray), "path": None} for gray in (5, 6)]
    table = datasets.Dataset.from_dict({"image": cells, "label": [0, 1]}, features=features)
    table.to_parquet(root / "test.parquet")
    datasets.DatasetDict({"validation": table}).save_to_disk(root / "saved")
    lay_out(root / "cache", test=[(5, 1), (6, 0)])


def _published(root: Path) -> None:
    for make, _ in LAYOUTS.values():
        make(root / "data")
    for name in ("n02085620-Chihuahua", "n02086079-Pekinese"):
        write(root / "dogs" / "Images" / name / "1.jpg", 7)
    savemat(root / "dogs" / "test_list.mat", {"file_list": np.array([["n02085620-Chihuahua/1.jpg"]], dtype=object)})
    write_symbol_shards(root / "symbols-wds", each=1)
    shutil.copytree(root / "symbols-wds", root / "shards")


def _models(root: Path) -> None:
    weights = write_open_clip(root / "CLIP", VIT) / "open_clip_model.safetensors"
    shutil.copyfile(weights, root / "weights.safetensors")
    write_transformers(root / "CLIP-transformers")
    write_archive(root / "CLIP.pt", "vit")
    for name in ("CLIP", "CLIP-transformers"):
        shutil.copytree(root / name, root / "both", dirs_exist_ok=True)
    hub_cache.lay_out(root / "hub", "org/clip", root / "both")
    # Where open_clip says that the weights of the tag lie.
    hub_cache.lay_out(root / "hub", "timm/vit_base_patch32_clip_224.openai", root / "CLIP")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the names that the page uses."""
    root = tmp_path_factory.mktemp("places")
    _models(root)
    _own_pictures(root)
    _own_tables(root)
    _published(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root / "hub"))
        for name in ("ViT-B-32", "ViT-B-32-quickgelu"):
            monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, VIT)
        # One load a model, not one a command.
        monkeypatch.setattr(backends, "load", cache(backends.load))
        accept_any_digest(monkeypatch)
        yield root


@pytest.mark.parametrize("command", commands("efface"), ids=" ".join)
def test_the_commands_run(places: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    workers = [] if command[0] == "export" else ["--workers", "0"]
    assert run([*command, *workers]) == 0, capsys.readouterr().err


def test_the_python_runs(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (block for language, block in FENCED if language == "python")
    exec(compile(block, "docs/data.md", "exec"), {})
    value, skipped = capsys.readouterr().out.split(maxsplit=1)
    assert 0 <= float(value) <= 1
    assert skipped == "()\n"


def test_every_prefix_is_in_the_table_with_its_options_and_in_a_command() -> None:
    rows = dict(re.findall(r"^\| (`[a-z0-9]+:`[^|]*)\|[^|]*\|([^|]*)\|$", PAGE, flags=re.MULTILINE))
    told = {prefix: options for prefixes, options in rows.items() for prefix in re.findall(r"`([a-z0-9]+):`", prefixes)}
    assert set(told) == {*FORMATS, MADE}
    for prefix in FORMATS:
        assert re.findall(r"`([a-z]+)`", told[prefix]) == list(FORMATS[prefix].options)


def test_the_page_says_what_is_too_many_pixels() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert f"more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million" in PAGE.replace("\n", " ")
