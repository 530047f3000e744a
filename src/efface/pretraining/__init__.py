"""Contrastive pre-training of a dual encoder, from a recipe to a folder that its own library loads."""

from efface.pretraining.loop import Interrupted
from efface.pretraining.material import Options
from efface.pretraining.recipe import Recipe, read_recipe
from efface.pretraining.train import Pretrained, pretrain

__all__ = ["Interrupted", "Options", "Pretrained", "Recipe", "pretrain", "read_recipe"]
