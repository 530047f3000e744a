import os
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from efface.doctor import facts
from efface.doctor.facts import Facts, builtin_models, machine, memory, packages, places, settings
from tests.doctor.by_hand import MACHINE, attempt, package


def test_memory_is_the_machines_or_the_containers_where_that_is_less() -> None:
    meminfo = "MemTotal:       2048 kB\nMemFree:        1 kB\n"
    assert memory(meminfo, "") == memory(meminfo, "max\n") == 2048 * 1024
    assert memory(meminfo, "1024\n") == 1024
    assert memory("", "") == 0


def test_the_machine_is_this_one() -> None:
    found = machine()
    assert found.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert found.cores >= 1
    assert found.wanted == ">=3.11"


def test_the_packages_are_those_that_efface_declares_and_torchvision() -> None:
    found = {p.name: p for p in packages()}
    declared = {Requirement(line).name for line in requires("efface") or ()}
    assert set(found) == declared | {"torchvision"}
    assert found["torch"].installed == version("torch")
    assert found["torch"].declared
    assert found["torchvision"].wants


def test_the_doctor_looks_for_what_the_project_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [f"Requires-Dist: {line}" for line in project["dependencies"]]
    lines += ["Provides-Extra: more", 'Requires-Dist: no-such-package>=2; extra == "more"']
    lines += ['Requires-Dist: never; sys_platform == "nowhere"']
    (tmp_path / "efface-9.dist-info").mkdir()
    text = "\n".join(["Metadata-Version: 2.4", "Name: efface", "Version: 9", *lines]) + "\n"
    (tmp_path / "efface-9.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = {p.name: p for p in packages()}
    assert {Requirement(line).name for line in project["dependencies"]} <= set(found)
    assert found["no-such-package"].extra == "more"
    assert found["no-such-package"].installed is None
    assert "never" not in found


def test_without_efface_installed_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        if name == "efface":
            raise PackageNotFoundError(name)
        return requires(name) or []

    monkeypatch.setattr(facts, "requires", missing)
    assert [p.name for p in packages()] == ["torchvision"]


def test_caches_are_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "not" / "there"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "data"))
    found = {place.variable: place for place in places()}
    assert found["HF_HUB_CACHE"].path == str(tmp_path / "not" / "there" / "hub")
    assert found["HF_DATASETS_CACHE"].path == str(tmp_path / "data")
    assert all(place.writable and place.free_bytes > 0 for place in found.values())
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_cache_would_be_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hf").touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert not {place.variable: place for place in places()}["HF_HUB_CACHE"].writable


def test_only_settings_that_matter_are_read() -> None:
    assert settings({"OMP_NUM_THREADS": "1", "SECRET": "x"}) == {"OMP_NUM_THREADS": "1"}


def test_builtin_models_come_with_their_sizes(tmp_path: Path) -> None:
    assert builtin_models(tmp_path / "none") == {}
    (tmp_path / "symbols" / "deep").mkdir(parents=True)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "symbols" / "weights").write_bytes(b"123")
    (tmp_path / "symbols" / "deep" / "more").write_bytes(b"12")
    assert builtin_models(tmp_path) == {"symbols": 5}


def test_facts_are_looked_up_by_name() -> None:
    found = Facts(MACHINE, packages=(package("torch"),), attempts=(attempt("torch"),))
    assert found.package("torch") == package("torch")
    assert found.attempt("torch") == attempt("torch")
    assert found.package("other") is None
    assert found.attempt("other") is None


def test_gpus_are_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 580.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert machine().gpus == ("NVIDIA H100, 580.1",)
    tool.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    assert machine().gpus == ()
