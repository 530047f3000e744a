import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from efface.backends import load
from efface.backends.base import digest
from efface.errors import InputError
from efface.export import folder as export
from efface.export.folder import write_run
from tests.report.sample_record import sample
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers

PIXELS = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_run_folder_holds_model_record_page_card_and_images(tmp_path: Path) -> None:
    clip = load(f"local-dir:{write_open_clip(tmp_path / 'base', VIT)}")
    out = write_run(tmp_path / "deep" / "run", sample(), clip, PIXELS)
    assert names(out) == {"model", "record.json", "results", "report.html", "README.md", "synthetic.png"}
    assert names(out / "model") == {"open_clip_config.json", "open_clip_model.safetensors"}
    assert (out / "record.json").read_text(encoding="utf-8") == sample().to_json()
    with Image.open(out / "synthetic.png") as sheet:
        assert sheet.width >= 2 * 16
    assert names(tmp_path / "deep") == {"run"}


@pytest.mark.parametrize("library", ["open_clip", "transformers"])
def test_the_lines_of_the_card_load_the_model_without_efface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    if library == "transformers":
        name = str(write_transformers(tmp_path / "base"))
    else:
        name = f"local-dir:{write_open_clip(tmp_path / 'base', VIT)}"
    clip = load(name)
    out = write_run(tmp_path / "run", sample(), clip, None)
    monkeypatch.chdir(out)
    card = (out / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert f'library_name: "{library}"' in card
    assert "efface" not in code
    made: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), made)
    assert digest(made["model"].state_dict()) == digest(clip.stored_state())


def test_without_a_model_there_is_no_card_for_one(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", sample(), None, PIXELS[:0])
    assert names(out) == {"record.json", "results", "report.html"}


def test_a_folder_that_exists_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, None)
    with pytest.raises(InputError, match="exists") as caught:
        write_run(out, sample(seed=2), None, None)
    assert "--overwrite" in caught.value.hint
    assert json.loads((out / "record.json").read_text())["seed"] == 1
    write_run(out, sample(seed=2), None, None, overwrite=True)
    assert json.loads((out / "record.json").read_text())["seed"] == 2
    assert names(tmp_path) == {"run"}


def test_a_disk_that_fills_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, None)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "render_page", full)
    with pytest.raises(OSError, match="No space left"):
        write_run(out, sample(seed=2), None, None, overwrite=True)
    assert names(tmp_path) == {"run"}
    assert json.loads((out / "record.json").read_text())["seed"] == 1


def test_a_rename_that_fails_puts_the_old_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, None)
    rename = os.rename

    def fail_for_the_new_one(source: Path, target: Path) -> None:
        if ".partial-" in source.name:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="Input/output"):
        write_run(out, sample(seed=2), None, None, overwrite=True)
    assert names(tmp_path) == {"run"}
    assert json.loads((out / "record.json").read_text())["seed"] == 1
