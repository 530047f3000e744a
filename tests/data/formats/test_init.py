"""The table of formats, and how a source is taken apart."""

import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

from efface.data import formats
from efface.data.formats import FORMATS, MADE, Format, Given, check_source, parse
from efface.data.formats.folders import ImageFiles
from efface.data.images import Stored
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.pictures import as_tensor, write


@pytest.mark.parametrize("prefix", FORMATS)
def test_every_row_names_a_reader_of_its_own(prefix: str) -> None:
    reader: Callable[[Given], Stored] = pkgutil.resolve_name(FORMATS[prefix].reader)
    assert get_type_hints(reader) == {"given": Given, "return": Stored}


def test_a_path_is_a_source_without_a_prefix(tmp_path: Path) -> None:
    assert parse(str(tmp_path)) == Given(str(tmp_path), "", str(tmp_path), {})


def test_a_prefix_and_options_are_taken_off(tmp_path: Path) -> None:
    given = parse(f"wds:{tmp_path},split=train")
    assert (given.prefix, given.path, given.options) == ("wds", tmp_path, {"split": "train"})
    assert parse("hf:org/name,split=a,config=b").options == {"split": "a", "config": "b"}
    assert parse(f"{MADE}:test:groups") == Given("symbols:test:groups", "symbols", "test:groups")


def test_a_path_that_looks_like_options_is_a_path_where_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "a,split=b"
    folder.mkdir()
    assert parse(str(folder)).path == folder


@pytest.mark.parametrize(
    ("source", "problem", "hint"),
    [
        ("wds:{}/none", "none' does not exist", "give a parquet file"),
        ("{}/none", "none' does not exist", "domains:"),
        ("wds:{},splt=x", "has no option 'splt'", "did you mean split?"),
        ("csv:{},split=x", "has no option 'split'", "there are none"),
        ("csv:{}", "is a folder, but csv: reads a file", "give a file; or leave out csv:"),
        ("coop:{}", "is a folder, but coop: reads a file", "give a file"),
        ("folders:{}/a.txt", "a.txt' is a file, but folders: reads a folder", "give a folder; or leave out folders:"),
        ("domains:{}/a.txt", "is a file", "give a folder"),
        ("imagenet:{}/a.txt", "is a file", "give a folder"),
        ("cifar10:{}/a.txt", "is a file", "give a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, source: str, problem: str, hint: str) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=problem) as caught:
        parse(source.format(tmp_path))
    assert hint in caught.value.hint


MINE = Format("mine", "efface.data.formats.folders:read")
FAR = Format("far", "tests.data.formats.test_init:read_far", on_disk=False)
NO_FORMAT = "mine"


def _install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def installed(group: str, name: str = "mine") -> list[EntryPoint]:
        return [EntryPoint(name, value, group)]

    monkeypatch.setattr(formats, "entry_points", installed)


def test_an_installed_plug_in_adds_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "tests.data.formats.test_init:MINE")
    write(tmp_path / "cat/1.png", 1)
    assert open_source(f"mine:{tmp_path}", preprocess=as_tensor).class_names == ("cat",)


def read_far(given: Given) -> Stored:
    """One image without a file."""
    rows = ImageFiles(given.path, ("1.png",))
    return Stored(rows, torch.zeros(1, dtype=torch.int64), ("cat",), {given.place: "the digest"})


def test_the_digest_of_what_is_not_on_disk_depends_on_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, "tests.data.formats.test_init:FAR")
    monkeypatch.chdir(tmp_path)
    assert open_source("mine:zoo", preprocess=as_tensor).sha256 == "the digest"
    (tmp_path / "zoo").mkdir()
    assert open_source("mine:zoo", preprocess=as_tensor).sha256 == "the digest"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("none.such:MINE", "ModuleNotFoundError: No module named 'none'"),
        ("tests.data.formats.test_init:NO_FORMAT", "it is a str, not an efface.data.formats.Format"),
    ],
)
def test_a_broken_plug_in_is_in_the_way_of_its_own_prefix_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    _install(monkeypatch, value)
    write(tmp_path / "cat/1.png", 1)
    assert open_source(str(tmp_path), preprocess=as_tensor).class_names == ("cat",)
    with pytest.raises(InputError, match=f"the plug-in for mine:, {value}, cannot be used: {reason}"):
        parse(f"mine:{tmp_path}")
    with pytest.raises(InputError, match="does not exist") as caught:
        parse(f"{tmp_path}/none")
    assert "caltech101:, mine:, symbols:" in caught.value.hint


def test_what_a_look_tells_is_refused_by_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty' is empty"):
        check_source(str(tmp_path / "empty"))
    for name, content, text in (("a", b"PAR1 cut", "does not end"), ("b", b"", "no parquet"), ("c", b"PAR1PAR1", "")):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        if not text:
            check_source(str(path))
            continue
        with pytest.raises(InputError, match=text):
            check_source(str(path))
