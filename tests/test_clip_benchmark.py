"""The real client: CLIP_benchmark measures what we wrote, and reads our results, by the commands of docs/data.md."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

from efface.cli import run
from tests.test_docs_data import commands
from tests.worlds import write_symbol_shards

CLIENT = "EFFACE_CLIP_BENCHMARK"
pytestmark = [
    pytest.mark.client,
    pytest.mark.skipif(CLIENT not in os.environ, reason=f"{CLIENT} does not name the command clip_benchmark"),
]


def _client(arguments: list[str]) -> None:
    # Without the paths of this process: the client has an environment of its own.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([os.environ[CLIENT], *arguments], capture_output=True, text=True, env=clean, check=False)
    assert done.returncode == 0, done.stderr


def test_the_client_measures_our_accuracy_to_the_last_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_symbol_shards(tmp_path / "symbols-wds", each=5)
    (forget,) = commands("efface forget")
    assert run([*forget, "--workers", "0"]) == 0
    measure, build = commands("clip_benchmark")
    _client(measure)
    _client(build)
    scores = json.loads(Path("runs/knight/record.json").read_text())["scores"]["after"]
    ours = {s["metric"]: s["value"] for s in scores if s["split"] == "all" and s["towers"] == "both"}
    theirs = json.loads(Path("theirs.json").read_text())["metrics"]
    assert (theirs["acc1"], theirs["acc5"]) == (ours["acc1"], ours["acc5"])
    assert theirs["mean_per_class_recall"] == pytest.approx(ours["mean_per_class_recall"], abs=1e-15)
    # Otherwise every order of classes would do.
    assert 0.5 < ours["acc1"] < 0.99
    with Path("table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["acc1"]) for row in rows if "without knight" in row["model_fullname"]] == [ours["acc1"]]
    assert len(rows) == 3
