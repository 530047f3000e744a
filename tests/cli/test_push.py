import json
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.verifying.runs import write_run_of
from tests.worlds import World


def test_without_being_told_to_send_it_says_what_it_would_send(
    clip: LoadedCLIP, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run_of(clip, world, tmp_path)
    assert run(["push", str(folder), "--repo", "me/clip"]) == 0
    out, err = said(capsys)
    assert out == ""
    assert "nothing was sent: add --send to send this to me/clip" in err
    assert run(["push", str(folder), "--repo", "me/clip", "--record", "--json"]) == 0
    plan = json.loads(said(capsys)[0])
    assert (plan["sent"], plan["private"], plan["commit"]) == (False, True, None)
    assert set(plan["files"]) == {"README.md", "open_clip_config.json", "open_clip_model.safetensors", "record.json"}
    assert run(["push", str(folder), "--repo", "me/clip", "--send"]) == 1
    lines = said(capsys)[1].splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith(("error", "hint"))] == ["error", "hint"]
