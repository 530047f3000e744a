import dataclasses
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.errors import InputError
from efface.plain import differences
from efface.pretraining.recipe import Training, read_recipe, recipe_from
from efface.pretraining.toml import to_toml
from tests.pretraining.recipes import tables, tiny_recipe


def written(folder: Path, **more: Any) -> Path:
    path = folder / "recipe.toml"
    path.write_text(to_toml({**tables(), **more}), encoding="utf-8")
    return path


def test_a_file_says_the_same_as_its_tables(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path)) == tiny_recipe()


def test_a_resolved_recipe_reads_back(tmp_path: Path) -> None:
    recipe = tiny_recipe(loss="siglip", betas=[0.5, 0.75])
    (tmp_path / "r.toml").write_text(to_toml(recipe.to_dict()), encoding="utf-8")
    assert read_recipe(tmp_path / "r.toml") == recipe
    assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()


def test_changes_go_by_dotted_names(tmp_path: Path) -> None:
    changes = {"training.steps": 9, "data.without.classes": ["dog"], "model.config.vision_cfg.layers": 3}
    recipe = read_recipe(written(tmp_path), changes)
    assert recipe.training.steps == 9
    assert recipe.data.without == {"classes": ("dog",)}
    assert recipe.model.config["vision_cfg"]["layers"] == 3
    assert set(differences(recipe.to_dict(), tiny_recipe().to_dict())) == {
        "training.steps",
        "data.without.classes",
        "model.config.vision_cfg.layers",
    }


def test_all_problems_are_named_at_once_with_near_names(tmp_path: Path) -> None:
    changes = {"training.stepz": 3, "trainign.seed": 3, "training.learning_rate": -1, "training.loss": "softmax"}
    with pytest.raises(InputError) as caught:
        read_recipe(written(tmp_path), changes)
    told, hint = str(caught.value), caught.value.hint
    assert "there is no training.stepz" in told
    assert "there is no trainign" in told
    assert "training.learning_rate is -1: input should be greater than 0" in told
    assert "training.loss is 'softmax'" in told
    assert "did you mean steps?" in hint
    assert "did you mean training?" in hint


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"training.epochs": 2}, "training: steps is 6 and epochs is 2: give one of them"),
        ({"training.steps": 0}, "steps is 0 and epochs is 0"),
        ({"data.templates": ["a photo"]}, "data: the template 'a photo' has 0 places"),
        ({"tokenizer.kind": "folder"}, "tokenizer: kind 'folder' and path '' do not go together"),
        ({"pixels.std": [1, 0, 1]}, "each must be above 0"),
        ({"model.family.x": 1}, "'model.family.x' leads through 'family', which is no table"),
    ],
)
def test_rules_between_values(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_recipe(written(tmp_path), changes)


def test_a_missing_table_and_no_toml_are_named(tmp_path: Path) -> None:
    rest = {name: table for name, table in tables().items() if name != "pixels"}
    with pytest.raises(InputError, match="pixels is missing"):
        recipe_from(rest)
    (tmp_path / "r.toml").write_text("[model", encoding="utf-8")
    with pytest.raises(InputError, match="is no TOML"):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_the_learning_rate_rises_in_a_line_and_falls_along_half_a_cosine() -> None:
    training = Training(batch_size=1, steps=14, learning_rate=2.0, warmup_steps=4, min_lr_ratio=0.1)
    rates = [training.rate(step, 14) for step in range(14)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[9] == pytest.approx(2 * (0.1 + 0.9 * 0.5))  # half way: the cosine of a right angle is 0
    assert training.rate(14, 14) == pytest.approx(0.2)


@given(st.integers(1, 50), st.integers(0, 60), st.floats(0, 1))
def test_the_learning_rate_stays_in_its_bounds(steps: int, warmup: int, ratio: float) -> None:
    training = Training(batch_size=1, steps=steps, learning_rate=3.0, warmup_steps=warmup, min_lr_ratio=ratio)
    rates = [training.rate(step, steps) for step in range(steps)]
    assert all(0 < rate <= 3.0 + 1e-12 or rate >= 3.0 * ratio - 1e-12 for rate in rates)
    falling = rates[warmup:]
    assert falling == sorted(falling, reverse=True)


def test_the_first_scale_is_the_publications() -> None:
    assert math.isclose(Training(batch_size=1, steps=1).first_scale, 1 / 0.07)
    assert Training(batch_size=1, steps=1, loss="siglip").first_scale == 10
    assert Training(batch_size=1, steps=1, logit_scale=3.0).first_scale == 3


def test_the_guide_shows_a_recipe_that_can_be_used_and_names_every_value() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "pretraining.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    recipe = recipe_from(tomllib.loads(shown))
    assert recipe.training.batch_size == 256
    named = set(re.findall(r"`([a-z_]+)`", guide))
    assert {field.name for field in dataclasses.fields(Training)} <= named


def test_a_date_in_the_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    text = to_toml(tables()).replace("[model.config.vision_cfg]", "[model.config.vision_cfg]\nmade = 2020-01-02")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="model: config holds 2020-01-02, which is a date"):
        read_recipe(path)
