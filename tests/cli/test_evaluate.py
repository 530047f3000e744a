import json
from pathlib import Path

import pytest

from efface.cli import run
from tests.cli.asking import forget, said
from tests.worlds import World


def test_evaluate_gives_the_scores_of_the_run(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(forget(world, tmp_path / "run", "--method", "projection", "--json"))
    record = json.loads(said(capsys)[0])
    edited = f"local-dir:{tmp_path / 'run' / 'model'}"
    asked = ["evaluate", edited, "--eval", world.data, "--class", "dog", "--workers", "0", "--json"]
    assert run([*asked, "--against", world.model]) == 0
    both = json.loads(said(capsys)[0])
    assert both["scores"] == record["scores"]
    assert both["classes"] == record["classes"]
    assert run(asked) == 0
    alone = json.loads(said(capsys)[0])
    assert alone["scores"]["before"] == []
    assert alone["scores"]["after"] == [s for s in record["scores"]["after"] if s["towers"] == "both"]
