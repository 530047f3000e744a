"""What transformers and open_clip alone make of a folder, as their documentation says: nothing of efface is in use."""

from pathlib import Path

import open_clip
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor

TEXTS = ["A photo of a cat.", "a small red dog"]
# Edges, which another filter would blur otherwise; no noise, which shows most that the libraries resize in other steps.
_LEVELS = torch.randint(256, (5 * 4 * 3,), generator=torch.Generator().manual_seed(0))
PICTURE = Image.frombytes("RGB", (5, 4), bytes(_LEVELS.tolist())).resize((60, 48), Image.Resampling.NEAREST)


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
    # SigLIP 2 was trained on lower case, which its tokenizer, Gemma's, leaves to who calls it.
    is_gemma = type(processor.tokenizer).__name__.startswith("Gemma")
    texts = [text.lower() for text in TEXTS] if is_gemma else TEXTS
    inputs = processor(text=texts, images=PICTURE, padding="max_length", max_length=length, return_tensors="pt")
    logits: Tensor = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"]).logits_per_image
    return logits


UPSTREAM = {"open_clip": by_open_clip, "transformers": by_transformers}
