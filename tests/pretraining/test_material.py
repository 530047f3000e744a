import pytest
from PIL import Image

from efface.errors import InputError
from efface.pretraining.material import Later, Material, Options
from efface.pretraining.recipe import recipe_from
from tests.pretraining.recipes import tables
from tests.worlds import World


def test_the_vocabulary_has_all_that_is_asked_in_validation_too(world: World) -> None:
    given = tables(world.data)
    given["data"] |= {"validation": [world.data], "templates": ["a {}", "{}!"], "without": {"classes": ["dog"]}}
    found = Material(recipe_from(given), Options())
    assert len(found.train) == 8
    assert set(found.vocabulary()) == {"a cat", "a fox", "cat!", "fox!", "a dog", "dog!"}


def test_a_missing_source_is_refused() -> None:
    with pytest.raises(InputError, match="does not exist"):
        Material(recipe_from(tables("nowhere")), Options())


def test_a_level_that_the_data_does_not_have_is_refused(world: World) -> None:
    given = tables(world.data)
    for asked in ({"levels": [0, 1]}, {"first_levels": [1], "first_steps": 2}):
        given["data"] = {"train": world.data} | asked
        with pytest.raises(InputError, match="has no level 1 of captions"):
            Material(recipe_from(given), Options())


def test_images_are_not_read_before_the_model_is_there() -> None:
    with pytest.raises(RuntimeError, match="before the model"):
        Later()(Image.new("RGB", (2, 2)))
