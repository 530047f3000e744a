import dataclasses
import hashlib
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
from efface.export.folder import Pictures, file_digests, model_source, not_plain, read_run, write_run
from efface.report.sheet import cut, read_sheet
from tests.report.sample_record import sample
from tests.tiny_open_clip import VIT, write_open_clip
from tests.tiny_transformers import write_transformers

PIXELS = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_run_folder_holds_model_record_page_card_and_images(tmp_path: Path) -> None:
    clip = load(f"local-dir:{write_open_clip(tmp_path / 'base', VIT)}")
    out = write_run(tmp_path / "deep" / "run", sample(), clip, Pictures(PIXELS))
    assert names(out) == {"model", "record.json", "results", "report.html", "README.md", "synthetic.png"}
    assert names(out / "model") == {"open_clip_config.json", "open_clip_model.safetensors"}
    record = read_run(out)
    assert dataclasses.replace(record, files=()).scores == sample().scores
    but_made_of_the_record = {"record.json", "report.html", "README.md"}
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {file.path for file in record.files} == there - but_made_of_the_record
    for file in record.files:
        content = (out / file.path).read_bytes()
        assert (file.sha256, file.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
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
    out = write_run(tmp_path / "run", sample(), clip, Pictures())
    monkeypatch.chdir(out)
    card = (out / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert f'library_name: "{library}"' in card
    assert "efface" not in code
    made: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), made)
    assert digest(made["model"].state_dict()) == digest(clip.stored_state())


def test_without_a_model_there_is_no_card_for_one(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", sample(), None, Pictures(PIXELS[:0]))
    assert names(out) == {"record.json", "results", "report.html"}


def test_pictures_of_any_size_are_found_again_on_their_sheet(tmp_path: Path) -> None:
    pictures = tuple(torch.full((3, 8 + i, 16), i / 10) for i in range(10))
    out = write_run(tmp_path / "run", sample(), None, Pictures(None, pictures))
    sheet = read_sheet(out / "retrieved.png")
    assert sheet is not None
    for i in range(10):
        assert cut(sheet, i).getpixel((8, 8)) == (round(25.5 * i),) * 3
    with pytest.raises(InputError, match="no picture 16"):
        cut(sheet, 16)


def test_what_is_no_run_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no record\.json"):
        read_run(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(InputError, match="its schema is None") as caught:
        read_run(tmp_path)
    assert "efface verify" in caught.value.hint
    with pytest.raises(InputError, match="has no model"):
        model_source(tmp_path)


def test_a_record_that_was_edited_is_not_read(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", sample(seed=1), None, Pictures()) / "record.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(InputError, match="was changed after it was written") as caught:
        read_run(tmp_path / "run")
    assert "efface verify" in caught.value.hint


def test_links_are_no_part_of_a_run_and_are_told(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", sample(), None, Pictures(PIXELS))
    assert not_plain(out) == ()
    files = file_digests(out)
    for name in ("results/link", "synthetic.png", "notes"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(tmp_path)
    assert not_plain(out) == ("results/link", "synthetic.png")
    assert set(files) - set(file_digests(out)) == {file for file in files if file.path == "synthetic.png"}


def test_a_text_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        export.replace_file(tmp_path / "page", "new")
    assert names(tmp_path) == {"page"}
    assert (tmp_path / "page").read_text() == "old"


def test_a_folder_that_exists_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, Pictures())
    with pytest.raises(InputError, match="exists") as caught:
        write_run(out, sample(seed=2), None, Pictures())
    assert "--overwrite" in caught.value.hint
    assert json.loads((out / "record.json").read_text())["seed"] == 1
    write_run(out, sample(seed=2), None, Pictures(), overwrite=True)
    assert json.loads((out / "record.json").read_text())["seed"] == 2
    assert names(tmp_path) == {"run"}


def test_a_disk_that_fills_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, Pictures())

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "render_page", full)
    with pytest.raises(OSError, match="No space left"):
        write_run(out, sample(seed=2), None, Pictures(), overwrite=True)
    assert names(tmp_path) == {"run"}
    assert json.loads((out / "record.json").read_text())["seed"] == 1


def test_a_rename_that_fails_puts_the_old_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_run(tmp_path / "run", sample(seed=1), None, Pictures())
    rename = os.rename

    def fail_for_the_new_one(source: Path, target: Path) -> None:
        if ".partial-" in source.name:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="Input/output"):
        write_run(out, sample(seed=2), None, Pictures(), overwrite=True)
    assert names(tmp_path) == {"run"}
    assert json.loads((out / "record.json").read_text())["seed"] == 1
