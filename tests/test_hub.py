import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from efface import hub
from efface.errors import InputError
from tests.hub_cache import REVISION, hub_of, lay_out, online

REPO = "org/some-clip"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    names = ("config.json", "merges.txt", "README.md", "model.safetensors", "pytorch_model.bin", "model-extra.bin")
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch32", "a/b", "google/siglip2-base-patch16-224"])
def test_names_on_the_hub_are_known_by_their_form(name: str) -> None:
    assert hub.is_hub_id(name)


@pytest.mark.parametrize("name", ["clip", "a/b/c", "./a/b", "/a", "a/", "ViT-B-32:a/b", "a/b c", "~/a"])
def test_other_names_are_not(name: str) -> None:
    assert not hub.is_hub_id(name)


def test_a_path_that_exists_is_no_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.repo_of("org/repo") == hub.repo_of("hf-hub:org/repo") == "org/repo"
    (tmp_path / "org" / "repo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub.repo_of("org/repo") is None
    assert hub.repo_of("hf-hub:org/repo") == "org/repo"
    for name in ("ViT-B-32:openai", "local-dir:a/b", "builtin:symbols-rn", "clip.pt"):
        assert hub.repo_of(name) is None
        hub.check(name)


def test_a_name_that_leads_nowhere_is_refused_before_anything_heavy_loads(cache: Path) -> None:
    for name in ("org/repo", "hf-hub:org/repo"):
        with pytest.raises(InputError, match="the Hub cannot be reached"):
            hub.check(name)
    for name in ("hf-hub:repo", "runs/a--b", "runs/a..b", "runs/a.git"):
        with pytest.raises(InputError, match=r"no folder .*, and it is no name of a model on the Hub"):
            hub.check(name)


def test_offline_the_folder_in_the_cache_is_taken(cache: Path, files: Path) -> None:
    snapshot = lay_out(cache, REPO, files)
    assert hub.fetch(REPO, ["config.json"], [["model.safetensors"]]) == snapshot
    assert hub.fetch(REPO, ["open_clip_config.json", "config.json"]) == snapshot
    assert hub.fetch_file(REPO, ["no.bin", "pytorch_model.bin"]) == snapshot / "pytorch_model.bin"


def test_what_is_not_in_the_cache_is_refused_at_once(cache: Path, files: Path) -> None:
    lay_out(cache, REPO, files)
    message = "the Hub cannot be reached, and its cache on this machine holds no open_clip_config.json of a model"
    with pytest.raises(InputError, match=message) as caught:
        hub.fetch(REPO, ["open_clip_config.json"])
    assert "HF_HUB_OFFLINE" in caught.value.hint
    with pytest.raises(InputError, match="there is no folder 'org/other'"):
        hub.fetch("org/other", ["config.json"])


def test_without_an_answer_the_wait_is_short(cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.3)
    snapshot = lay_out(cache, REPO, files)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert hub.fetch(REPO, ["config.json"]) == snapshot
        with pytest.raises(InputError, match="the Hub cannot be reached"):
            hub.fetch("org/other", ["config.json"])
        assert time.monotonic() - started < 2
    online(monkeypatch, "http://127.0.0.1:9")
    assert hub.fetch(REPO, ["config.json"]) == snapshot


def test_small_files_and_the_first_weights_are_fetched_once_and_no_others(
    cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache / "models--org--some-clip" / "snapshots" / REVISION
    with hub_of({REPO: files}) as (address, sent):
        online(monkeypatch, address)
        assert hub.fetch(REPO, ["config.json"]) == snapshot
        small = ["README.md", "config.json", "merges.txt"]
        assert sorted(sent) == small
        weights = [["none.safetensors"], ["model.safetensors"], ["pytorch_model.bin"]]
        hub.fetch(REPO, ["config.json"], weights)
        assert sorted(sent) == [*small, "model.safetensors"]
        assert {path.name: path.read_text() for path in snapshot.iterdir()} == {name: name for name in sent}
        hub.fetch(REPO, ["config.json"], [["model-*", "pytorch_model.bin"]])
        assert sorted(sent[4:]) == ["model-extra.bin", "pytorch_model.bin"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch(REPO, ["config.json"]) == snapshot


def test_models_and_files_that_the_hub_does_not_have_are_named(
    cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_of({REPO: files}) as (address, _):
        online(monkeypatch, address)
        with pytest.raises(InputError, match=r"has no open_clip_config.json"):
            hub.fetch(REPO, ["open_clip_config.json"])
        with pytest.raises(InputError, match="the Hub has no model 'org/other' that can be seen") as caught:
            hub.fetch("org/other", ["config.json"])
        assert "hf auth login" in caught.value.hint
        with pytest.raises(InputError, match=re.escape("has no x.bin or y.bin")):
            hub.fetch_file(REPO, ["x.bin", "y.bin"])


def test_the_command_line_says_that_there_is_no_network(tmp_path: Path) -> None:
    hidden = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**hidden, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    code = (
        "import sys; from efface.cli import run; code = run(['evaluate', 'org/some-clip', '--eval', 'symbols:test'])\n"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2, done.stderr
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("error: there is no folder 'org/some-clip', the Hub cannot be reached")
    assert second.startswith("hint: check the name and the network")
