import subprocess
import sys
from pathlib import Path

import pytest

import efface
from efface.errors import InputError
from efface.model_names import FORMS, builtin_root, check_model


def test_the_models_lie_in_the_package() -> None:
    assert builtin_root() == Path(efface.__file__).parent / "builtin_models"


@pytest.mark.parametrize("name", ["builtin:symbols-vit", "ViT-B-32:openai"])
def test_a_name_that_may_load_is_let_pass(name: str) -> None:
    check_model(name)


def test_a_folder_in_open_clips_format_is_looked_into(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        check_model(f"local-dir:{tmp_path / 'none'}")
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {}}')
    check_model(f"local-dir:{tmp_path}")


def test_what_holds_no_model_is_refused_and_a_run_answered_with_its_own(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").touch()
    (tmp_path / "archive.pt").touch()
    check_model(str(tmp_path / "run" / "model"))
    check_model(str(tmp_path / "archive.pt"))
    for name, hint in (("none", FORMS), ("none:openai", FORMS), ("run", f"write {tmp_path / 'run' / 'model'}")):
        with pytest.raises(InputError, match="does not name a model that can be loaded") as caught:
            check_model(str(tmp_path / name))
        assert caught.value.hint == hint
    with pytest.raises(InputError, match="no model 'nope' comes with efface"):
        check_model("builtin:nope")


def test_a_name_is_checked_without_torch() -> None:
    code = "import efface.model_names, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
