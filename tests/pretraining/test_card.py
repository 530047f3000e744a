from efface.evaluation.base import Score
from efface.pretraining.batches import Schedule
from efface.pretraining.card import render_card
from efface.pretraining.recipe import recipe_from
from efface.pretraining.toml import to_toml
from tests.pretraining.recipes import tables
from tests.pretraining.test_batches import Numbered

PLAN = Schedule(images=9, batch_size=4, steps=6, seed=0)


def test_the_card_says_what_was_done_and_measured() -> None:
    given = tables()
    given["data"]["without"] = {"classes": ["dog", "fox"]}
    recipe = recipe_from(given)
    score = Score("val", "all", "acc1", "both", 0.875, 64, 0.77, 0.94, True)
    card = render_card(recipe, (score,), PLAN, 12.4, Numbered(9), None)
    assert "| val | 87.5 (77.0 to 94.0) | 64 |" in card
    assert "`numbers`: 9 images, captions on 2 levels" in card
    assert "Left out: classes: dog, fox." in card
    assert "6 steps of 4 images (2.7 epochs) took 12 s." in card
    assert to_toml(recipe.to_dict()).strip() in card
    assert card.startswith('---\nlibrary_name: "open_clip"\n')
    assert "- torch: " in card


def test_the_card_does_not_hide_what_is_missing() -> None:
    card = render_card(recipe_from(tables(family="transformers")), (), PLAN, 1.0, Numbered(9), -9.5)
    assert "Nothing was measured" in card
    assert "Nothing was left out." in card
    assert "the bias -9.5, which the model has no place for" in card
    assert "CLIPModel.from_pretrained" in card
