"""The real client: CLIP_benchmark measures what we wrote, and reads our results."""

import csv
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efface.cli import run
from efface.data.symbols import drawn
from efface.symbols.catalogue import MEMBERS
from efface.symbols.splits import scenes

CLIENT = "EFFACE_CLIP_BENCHMARK"
pytestmark = [
    pytest.mark.client,
    pytest.mark.skipif(CLIENT not in os.environ, reason=f"{CLIENT} does not name the command clip_benchmark"),
]
SHARD = 200


def _webdataset(folder: Path) -> Path:
    """Five held-out images of each member of the world, as CLIP_benchmark lays them out."""
    everything = scenes("validation")
    rows = np.concatenate([np.flatnonzero(everything.member == member)[:5] for member in range(len(MEMBERS))])
    some = everything.take(rows)
    (folder / "test").mkdir(parents=True)
    shards = range(0, len(rows), SHARD)
    for number, first in enumerate(shards):
        with tarfile.open(folder / "test" / f"{number}.tar", "w") as tar:
            for row, pixels in enumerate(drawn(some.take(slice(first, first + SHARD))), start=first):
                image = io.BytesIO()
                Image.fromarray(pixels).save(image, "PNG")
                _add(tar, f"s{row:07d}.png", image.getvalue())
                _add(tar, f"s{row:07d}.cls", str(int(some.member[row])).encode())
    (folder / "test" / "nshards.txt").write_text(f"{len(shards)}\n")
    (folder / "classnames.txt").write_text("\n".join(MEMBERS) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\nthe {c}.\n")
    return folder


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _client(*arguments: str | Path) -> None:
    # Without the paths of this process: the client has an environment of its own.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = [os.environ[CLIENT], *map(str, arguments)]
    done = subprocess.run(asked, capture_output=True, text=True, env=clean, check=False)
    assert done.returncode == 0, done.stderr


def test_the_client_measures_our_accuracy_to_the_last_digit(tmp_path: Path) -> None:
    data, out = _webdataset(tmp_path / "data"), tmp_path / "run"
    templates = data / "zeroshot_classification_templates.txt"
    forget = ["forget", "--model", "builtin:symbols-rn", "--class", "knight", "--method", "projection"]
    shared = ["--eval", str(data), "--template", str(templates), "--workers", "0", "--batch-size", "64"]
    assert run([*forget, *shared, "--out", str(out)]) == 0
    theirs = tmp_path / "theirs.json"
    where = ["--dataset", "wds/symbols", "--dataset_root", str(data), "--output", str(theirs)]
    # Ours computes in fp32 unless it is told otherwise; the client's default is bf16 on a CPU.
    how = ["--no_amp", "--batch_size", "64", "--num_workers", "0"]
    _client("eval", "--model", f"local-dir:{out / 'model'}", "--pretrained", "", *where, *how)
    scores = json.loads((out / "record.json").read_text())["scores"]["after"]
    ours = {s["metric"]: s["value"] for s in scores if s["split"] == "all" and s["towers"] == "both"}
    measured = json.loads(theirs.read_text())["metrics"]
    assert (measured["acc1"], measured["acc5"]) == (ours["acc1"], ours["acc5"])
    assert measured["mean_per_class_recall"] == pytest.approx(ours["mean_per_class_recall"], abs=1e-15)
    # Otherwise every order of classes would do.
    assert 0.5 < ours["acc1"] < 0.99
    _client("build", out / "results", theirs, "--output", tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["acc1"]) for row in rows if "without knight" in row["model_fullname"]] == [ours["acc1"]]
    assert len(rows) == 3
