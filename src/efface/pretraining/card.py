"""The model card of a pre-trained model."""

import json

from efface.data.captions import CaptionedImages
from efface.evaluation.base import Score
from efface.pretraining.batches import Schedule
from efface.pretraining.recipe import Recipe
from efface.pretraining.toml import to_toml
from efface.report.environment import environment


def render_card(
    recipe: Recipe,
    scores: tuple[Score, ...],
    plan: Schedule,
    seconds: float,
    data: CaptionedImages,
    bias: float | None,
) -> str:
    """What the model is, what it was made of, and how well it tells classes apart, as Markdown.

    Args:
        recipe: of the run.
        scores: zero-shot accuracies of the exported weights.
        plan: what was seen when.
        seconds: of training.
        data: what was trained on.
        bias: of the sigmoid loss, where the model has no place for it.
    """
    front = {"library_name": recipe.model.family, "tags": ["clip", "efface"]}
    header = [f"{key}: {json.dumps(value)}" for key, value in front.items()]
    epochs = plan.steps * plan.batch_size / plan.images
    rows = [
        f"| {score.data} | {100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f}) | {score.n} |"
        for score in scores
    ]
    without = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in recipe.data.without.items() if names)
    load = (
        'open_clip.create_model_and_transforms("local-dir:FOLDER/model")'
        if recipe.model.family == "open_clip"
        else 'transformers.CLIPModel.from_pretrained("FOLDER/model")'
    )
    lines = [
        "---",
        *header,
        "---",
        "# A CLIP, trained from random weights by efface",
        "",
        f"`{load}` loads it. Weights are stored in {recipe.model.stored}.",
        "",
        f"Trained on `{data.source}`: {plan.images} images, captions on {len(data.levels)} levels, "
        f"sha256 `{data.sha256}`.",
        f"Left out: {without}." if without else "Nothing was left out.",
        f"{plan.steps} steps of {plan.batch_size} images ({epochs:.1f} epochs) took {seconds:.0f} s.",
        *([f"The sigmoid loss ended with the bias {bias:.6g}, which the model has no place for."] if bias else []),
        "",
        "## Zero-shot accuracy",
        "",
        *(
            ["| images | top-1 in percent (95 % interval) | n |", "|---|---|---|", *rows]
            if rows
            else ["Nothing was measured: the recipe names no validation images."]
        ),
        "",
        "## Recipe",
        "",
        "```toml",
        to_toml(recipe.to_dict()).strip(),
        "```",
        "",
        "## Environment",
        "",
        *(f"- {name}: {found}" for name, found in environment().items()),
    ]
    return "\n".join(lines) + "\n"
