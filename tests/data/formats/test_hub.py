"""Data sets of the Hub, from a cache that was laid out by hand; conftest.py keeps the client offline."""

import socket
import time
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from efface import hub
from efface.data.sources import open_source
from efface.errors import InputError
from tests.data.hub_cache import lay_out
from tests.data.pictures import as_tensor, read, said, write
from tests.hub_cache import online


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_what_is_in_the_cache_opens_without_a_network(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lay_out(tmp_path / "cache", test=[(5, 1), (6, 0)], train=[(7, 0)])
    assert said(read("hf:org/zoo")) == [(5, "dog"), (6, "cat")]
    assert said(read("hf:org/zoo,split=train")) == [(7, "cat")]
    assert capfd.readouterr() == ("", "")


def test_a_configuration_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path / "cache", "large", test=[(5, 1)])
    assert said(read("hf:org/zoo,config=large")) == [(5, "dog")]
    with pytest.raises(InputError, match="Couldn't find cache for org/zoo for config 'small'"):
        read("hf:org/zoo,config=small")


def test_the_digest_is_of_images_and_labels_alone(tmp_path: Path) -> None:
    lay_out(tmp_path / "cache", "one", a=[(5, 1)], b=[(5, 0)], c=[(6, 1)])
    lay_out(tmp_path / "cache", "two", a=[(5, 1)], d=[(6, 1), (5, 1)])
    first, *others = (
        open_source(f"hf:org/zoo,config={config},split={split}", preprocess=as_tensor).sha256
        for config, split in (("one", "a"), ("two", "a"), ("one", "b"), ("one", "c"), ("two", "d"))
    )
    assert others[0] == first
    assert first not in others[1:]
    assert len(set(others[1:])) == 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf:org/none", "the Hub cannot be reached, and its cache on this machine does not hold it"),
        ("hf:org/zoo,split=val", 'Unknown split "val". Should be one of'),
    ],
)
def test_what_cannot_be_had_is_named_with_the_reason(tmp_path: Path, source: str, reason: str) -> None:
    lay_out(tmp_path / "cache", test=[(5, 1)])
    with pytest.raises(InputError, match="cannot be had") as caught:
        read(source)
    assert reason in str(caught.value)
    assert "HF_HUB_OFFLINE=1" in caught.value.hint


def test_without_an_answer_the_cache_is_read_and_the_wait_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path / "cache", test=[(5, 1)])
    monkeypatch.setattr(hub, "SECONDS", 0.3)
    # Else the client asks one question of its own, once a process.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], 9):
            online(monkeypatch, f"http://127.0.0.1:{port}")
            monkeypatch.setattr(datasets.config, "HF_ENDPOINT", f"http://127.0.0.1:{port}")
            started = time.monotonic()
            assert said(read("hf:org/zoo")) == [(5, "dog")]
            with pytest.raises(InputError, match="the Hub cannot be reached"):
                read("hf:org/none")
            assert time.monotonic() - started < 2
            assert not datasets.config.HF_HUB_OFFLINE
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_the_same_name_is_not_read_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / "cache", test=[(5, 1)])
    write(tmp_path / "org/zoo/test/cat/1.png", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="but a folder 'org/zoo' is here too"):
        read("hf:org/zoo")


@pytest.mark.parametrize(
    ("name", "hint"), [("imagefolder", "folders:PLACE"), ("parquet", "parquet:PLACE"), ("text", "")]
)
def test_names_of_readers_of_files_are_no_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    write(tmp_path / "test/cat/1.png", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"'hf:{name}' names no data set of the Hub") as caught:
        read(f"hf:{name}")
    assert hint in caught.value.hint


def test_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="names no data set"):
        read("hf:")
