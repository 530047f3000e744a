"""Recipes small enough to train while a test runs."""

from typing import Any

from efface.pretraining.recipe import Recipe, recipe_from

TOWERS: dict[str, dict[str, Any]] = {
    "open_clip": {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1},
    },
    "transformers": {
        "projection_dim": 16,
        "vision_config": {
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "patch_size": 16,
        },
        "text_config": {
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "max_position_embeddings": 12,
        },
    },
}
RESNET: dict[str, Any] = {
    **TOWERS["open_clip"],
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
}


def tables(train: str = "pictures", *, family: str = "open_clip", **training: Any) -> dict[str, Any]:
    """A recipe as plain tables; ``training`` changes values of its table."""
    return {
        "model": {"family": family, "config": TOWERS[family]},
        "pixels": {"size": 32},
        "data": {"train": train},
        "training": {"batch_size": 4, "steps": 6, "log_every": 2, "learning_rate": 1e-3, **training},
    }


def tiny_recipe(train: str = "pictures", *, family: str = "open_clip", **training: Any) -> Recipe:
    """The same as a recipe."""
    return recipe_from(tables(train, family=family, **training))
