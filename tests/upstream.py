"""What transformers and open_clip alone make of a folder, as their documentation says: nothing of efface is in use."""

from pathlib import Path

import open_clip
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor

TEXTS = ["A photo of a cat.", "a small red dog"]
# No noise: the two libraries resize in other steps, which noise shows most.
_RAMP = Image.linear_gradient("L")
_CHANNELS = (_RAMP, _RAMP.transpose(Image.Transpose.ROTATE_90), Image.radial_gradient("L"))
PICTURE = Image.merge("RGB", _CHANNELS).resize((50, 40))


@torch.no_grad()
def by_open_clip(folder: Path) -> Tensor:
    """Logits of the picture and the texts by open_clip."""
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    logits: Tensor = model.get_logits(preprocess(PICTURE)[None], tokens)[0]
    return logits


@torch.no_grad()
def by_transformers(folder: Path) -> Tensor:
    """Logits of the picture and the texts by transformers."""
    model, processor = AutoModel.from_pretrained(folder, dtype=torch.float32), AutoProcessor.from_pretrained(folder)
    length = model.config.text_config.max_position_embeddings
    inputs = processor(text=TEXTS, images=PICTURE, padding="max_length", max_length=length, return_tensors="pt")
    logits: Tensor = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"]).logits_per_image
    return logits


UPSTREAM = {"open_clip": by_open_clip, "transformers": by_transformers}
