import json
from pathlib import Path

import pytest

from efface.cli import run
from tests.tiny_open_clip import RESNET, write_open_clip
from tests.tiny_transformers import write_transformers


def test_it_says_the_difference_and_prints_the_folder_or_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_transformers(tmp_path / "base")
    assert run(["export", str(base), "--to", "open_clip", "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out'}\n"
    assert "largest difference of a logit: " in err
    assert "(allowed: 0.01)" in err
    more = ["--to", "transformers", "--out", str(tmp_path / "again"), "--json"]
    assert run(["export", str(tmp_path / "out"), *more]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["came"], document["to"]) == ("open_clip", "transformers")
    assert document["largest_logit_difference"] < document["allowed_logit_difference"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--to", "onnx", "--out", "out"], "there is no format 'onnx'"),
        (["--to", "transformers", "--out", "out"], "ResNets exist only in open_clip"),
        (["--to", "open_clip", "--out", "base"], "base exists"),
    ],
)
def test_bad_input_is_one_error_and_one_hint_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_open_clip(tmp_path / "base", RESNET)
    assert run(["export", "base", *arguments]) == 2
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
    assert (out, [path.name for path in tmp_path.iterdir()]) == ("", ["base"])
