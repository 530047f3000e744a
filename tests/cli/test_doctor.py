import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import efface
from efface.cli import run
from efface.doctor.facts import Facts
from tests.cli.asking import ANSI, said
from tests.doctor.by_hand import MACHINE, NMS, attempt, package

# By its name: efface.cli.doctor is the command, which hides the module that it is in.
MODULE = importlib.import_module("efface.cli.doctor")
# What the doctor asks of a torch, of a torch of a few lines: the real one takes seconds to import.
TORCH = """
from types import SimpleNamespace
__version__ = "2.9.0+cpu"
version = SimpleNamespace(cuda=None)
cuda = SimpleNamespace(is_available=lambda: False)
backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
get_num_threads = lambda: 2
zeros = lambda n: SimpleNamespace(numpy=list)
"""
# Runs the command where torch and what builds on it cannot be imported in the doctor's own process.
BLOCKED = """
import sys
for name in ("torch", "torchvision", "open_clip", "transformers", "datasets", "numpy"):
    sys.modules[name] = None
from efface.cli import run
sys.exit(run(sys.argv[1:]))
"""


def dist_info(folder: Path, name: str, version: str, *needs: str) -> None:
    (folder / f"{name}-{version}.dist-info").mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """What shadows the installed packages: pytorch.org's torch beside PyPI's torchvision, as pip would leave them."""
    dist_info(tmp_path, "torch", "2.9.0+cpu")
    dist_info(tmp_path, "torchvision", "0.24.0", "torch (==2.9.0)")
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "torchvision.py").write_text(f"raise RuntimeError({NMS.partition(': ')[2]!r})\n")
    (tmp_path / "open_clip.py").write_text("import torchvision\n")
    (tmp_path / "transformers.py").write_text(
        "try:\n    import torchvision\nexcept Exception as e:\n    raise ModuleNotFoundError('no CLIPModel') from e\n"
    )
    return tmp_path


def test_a_broken_pair_is_named_with_its_repair_where_torch_cannot_be_imported(broken: Path) -> None:
    source = str(Path(efface.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": f"{broken}{os.pathsep}{source}"}
    asked = [sys.executable, "-c", BLOCKED, "doctor"]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, timeout=60, check=False)
    err = ANSI.sub("", done.stderr)
    assert done.returncode == 1, err
    assert done.stdout == ""
    assert "problem  torch 2.9.0+cpu with torchvision 0.24.0: " in err
    index = "--index-url https://download.pytorch.org/whl/cpu"
    assert f'repair: python -m pip install --upgrade "torch==2.9.0+cpu" torchvision {index}\n' in err
    assert 'or:     python -m pip install --upgrade "torch===2.9.0" torchvision\n' in err
    assert f"problem  import torchvision: {NMS}\n" in err
    assert "problem  import open_clip: fails as torchvision does" in err
    assert "problem  import transformers: fails as torchvision does: ModuleNotFoundError: no CLIPModel\n" in err
    assert re.search(r"^ok       import torch: \d+\.\d s$", err, flags=re.MULTILINE)
    assert "ok       cpu: threads: 2" in err
    assert err.endswith("problems: 4\n")
    assert "Traceback" not in err


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Facts:
    """An environment in order, given in place of this one."""
    made = Facts(MACHINE, (package("torch"),), (attempt("torchvision"),), settings={"OMP_NUM_THREADS": "1"})
    monkeypatch.setattr(MODULE, "examine", lambda finished: made)
    return made


def test_no_problem_is_exit_code_0_and_people_read_standard_error(
    facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor"]) == 0
    out, err = said(capsys)
    assert out == ""
    assert "ok       torch: 1.0\n" in err
    assert "note     OMP_NUM_THREADS: '1', and this process may use 4 cores\n" in err
    assert err.endswith("problems: 0\n")


def test_json_prints_findings_and_facts_and_nothing_else(facts: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    out, err = said(capsys)
    answer = json.loads(out)
    assert answer["problems"] == 0
    assert {"level": "ok", "about": "torch", "text": "1.0", "repairs": []} in answer["findings"]
    assert answer["facts"]["machine"]["cores"] == facts.machine.cores
    assert err == ""
