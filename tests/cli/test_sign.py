import json
import re
import subprocess
import sys
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
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert run(["sign", str(folder), "--key", str(private)]) == 2
    assert "there is no terminal to ask for its passphrase" in said(capsys)[1]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: PASSPHRASE)
    assert run(["sign", str(folder), "--key", str(private), "--valid-until", "2100-01-01"]) == 0
    out, err = said(capsys)
    assert out == f"{folder / 'record.json'}\n"
    signature = json.loads((folder / "record.json").read_text())["signature"]
    assert f"signed by the key {signature['key_id']}" in err
    assert signature["valid_until"] == "2100-01-01T23:59:59Z"
    assert run(["verify", str(folder), "--key", str(public)]) == 0
    said(capsys)
    assert run(["sign", str(folder), "--key", str(public)]) == 2
    _, err = said(capsys)
    assert "holds no private Ed25519 key" in err
    assert "hint: this is a public key: sign wants the private one, verify the public one" in err
    record = folder / "record.json"
    edited = re.sub(r'"seed":\s*\d+', '"seed":99', record.read_text(), count=1)
    record.write_text(edited)
    assert run(["verify", str(folder), "--key", str(public), "--json"]) == 1
    assert {"PAYLOAD", "SIGNATURE"} <= set(json.loads(said(capsys)[0])["failed"])


@pytest.mark.parametrize("end", ["tomorrow", "2100-13-01", "2100-01-01T12:00"])
def test_what_is_no_date_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str) -> None:
    assert run(["sign", str(tmp_path), "--key", "key.pem", "--valid-until", end]) == 2
    assert "no date such as 2027-12-31" in said(capsys)[1]


@pytest.mark.parametrize("verb", ["sign", "verify"])
def test_a_folder_or_a_key_that_is_none_is_refused_before_anything_heavy_loads(tmp_path: Path, verb: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text("{}")
    for folder, said_of in ((tmp_path, "is not a run folder"), (tmp_path / "run", "there is no key file")):
        code = f"from efface.cli import run; print(run([{verb!r}, {str(folder)!r}, '--key', 'none.pem']))"
        code += "; import sys; print('torch' in sys.modules)"
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert asked.stdout.split() == ["2", "False"]
        assert said_of in asked.stderr
