"""Contrastive pre-training of a dual encoder, from a recipe to a folder that its own library loads.

Names load on first use, so that a wrong recipe is refused before torch is imported.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from efface.pretraining.loop import Interrupted
    from efface.pretraining.material import Options
    from efface.pretraining.recipe import Recipe, read_recipe
    from efface.pretraining.train import Pretrained, pretrain

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "loop": ["Interrupted"],
        "material": ["Options"],
        "recipe": ["Recipe", "read_recipe"],
        "train": ["Pretrained", "pretrain"],
    },
)
__all__ = ["Interrupted", "Options", "Pretrained", "Recipe", "pretrain", "read_recipe"]
