import json
from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.cli import run
from tests.cli.asking import said
from tests.keys import PASSPHRASE, write_keys
from tests.verifying.runs import write_run_of
from tests.worlds import World

pytest.importorskip("cryptography")


def test_a_run_is_signed_and_the_signature_holds(
    clip: LoadedCLIP, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run_of(clip, world, tmp_path)
    private, public = write_keys(tmp_path, encrypted=True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: PASSPHRASE)
    assert run(["sign", str(folder), "--key", str(private), "--valid-until", "2100-01-01"]) == 0
    out, err = said(capsys)
    assert out == f"{folder / 'record.json'}\n"
    signature = json.loads((folder / "record.json").read_text())["signature"]
    assert f"signed by the key {signature['key_id']}" in err
    assert signature["valid_until"] == "2100-01-01T00:00:00Z"
    assert run(["verify", str(folder), "--key", str(public)]) == 0
    said(capsys)
    assert run(["sign", str(folder), "--key", str(public)]) == 2
    assert "holds no private Ed25519 key" in said(capsys)[1]
