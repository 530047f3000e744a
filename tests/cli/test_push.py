import json
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.export.stand_in import asked_of_stand_in
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


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_into_a_repository_that_all_can_see_it_sends_only_if_told_to(
    clip: LoadedCLIP,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["push", str(write_run_of(clip, world, tmp_path)), "--repo", "me/clip", "--send"]
    with asked_of_stand_in(monkeypatch) as hub:
        hub.there = {"private": False, "siblings": [{"rfilename": "other.bin"}]}
        assert run(asked) == 2
        assert "all can see it: nothing was sent" in said(capsys)[1]
        assert run([*asked, "--public"]) == 2
        assert "did not put there, such as other.bin: nothing was sent" in said(capsys)[1]
        assert hub.files == {}
        assert run([*asked, "--public", "--overwrite"]) == 0
        assert said(capsys)[0].startswith(f"{hub.url}/me/clip/commit/")
        assert "README.md" in hub.files
