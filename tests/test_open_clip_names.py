import json
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest

from efface.errors import InputError
from efface.open_clip_names import check_named, model_names_in, read_config, tags_in

HOME = Path(open_clip.__file__).parent


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if open_clip had not been imported."""
    monkeypatch.delitem(sys.modules, "open_clip")


def test_what_is_read_is_what_open_clip_says() -> None:
    own = {name for name in open_clip.list_models() if (HOME / "model_configs" / f"{name}.json").is_file()}
    assert set(model_names_in(HOME)) == own
    found = tags_in((HOME / "pretrained.py").read_text(encoding="utf-8"))
    assert {name: list(tags) for name, tags in found.items()} == {
        name: open_clip.list_pretrained_tags_by_model(name) for name in found
    }
    assert {name for name in own if open_clip.list_pretrained_tags_by_model(name)} <= set(found)


@pytest.mark.usefixtures("fresh")
def test_every_tag_is_let_pass_and_a_file_too(tmp_path: Path) -> None:
    for name, tag in open_clip.list_pretrained():
        check_named(name, tag)
    check_named("ViT-B-32", "DataComp-XL-s13b-b90k")  # as open_clip compares them
    (tmp_path / "w.safetensors").touch()
    check_named("ViT-B-32", str(tmp_path / "w.safetensors"))


@pytest.mark.usefixtures("fresh")
def test_a_slip_is_answered_with_what_is_near() -> None:
    with pytest.raises(InputError, match="open_clip has no model 'ViT-B-23'") as caught:
        check_named("ViT-B-23", "openai")
    assert caught.value.hint.startswith("did you mean ViT-B-32")
    with pytest.raises(InputError, match="open_clip has no model 'xyzzy'") as caught:
        check_named("xyzzy", "openai")
    assert caught.value.hint == "python -c 'import open_clip; print(open_clip.list_models())'"
    with pytest.raises(InputError, match="open_clip has no weights 'opnai' for RN101-quickgelu") as caught:
        check_named("RN101-quickgelu", "opnai")
    assert caught.value.hint == "did you mean openai? its tags are openai, yfcc15m"
    with pytest.raises(InputError, match="open_clip has no weights '' for RN101-quickgelu"):
        check_named("RN101-quickgelu", "")


def test_where_it_is_imported_it_answers_by_itself() -> None:
    check_named("a model that a program added", "tag")


def test_a_slip_costs_the_import_of_nothing_heavy() -> None:
    code = "import sys; from efface.cli import run; code = run(['evaluate', 'ViT-B-32:opnai', '--eval', '.']); "
    code += "print(code, *sys.modules.keys() & {'torch', 'transformers', 'open_clip'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]
    assert "did you mean openai?" in done.stderr


@pytest.mark.parametrize("source", ["x = 1", "_PRETRAINED = made()", "_PRETRAINED = {**a, 'b': made(), c: dict(d=1)}"])
def test_a_table_of_another_make_tells_nothing(source: str) -> None:
    assert not any(tags_in(source).values())


def test_a_folder_is_read_or_refused(tmp_path: Path) -> None:
    for held, said, hint in (
        (None, "has no open_clip_config.json: it holds nothing", "give a folder in open_clip's format"),
        ("{", "open_clip_config.json is not JSON", "take the file from the original checkpoint"),
        ("[]", "open_clip_config.json has no 'model_cfg'", "take the file from the original checkpoint"),
    ):
        if held is not None:
            (tmp_path / "open_clip_config.json").write_text(held)
        with pytest.raises(InputError, match=said) as caught:
            read_config(tmp_path)
        assert caught.value.hint == hint
    with pytest.raises(InputError, match="there is no folder"):
        read_config(tmp_path / "none")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}}))
    assert read_config(tmp_path) == {"model_cfg": {}}
