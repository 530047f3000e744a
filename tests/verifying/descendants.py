"""Models that were trained on from the result of a run."""

from pathlib import Path

import torch
import torch.nn.functional as F

import efface
from efface.backends import save
from efface.encoding import encode_classes
from efface.export.folder import model_source
from efface.types import LabelledImages


def fine_tuned(run: Path, images: LabelledImages, names: tuple[str, ...], folder: Path, *, steps: int) -> str:
    """The name of a model: the result of a run, its image tower trained on images and their classes."""
    clip = efface.load(model_source(run))
    tokens = clip.class_tokens([(f"a photo of a {name}.",) for name in names])
    classes = encode_classes(clip.encoder, tokens)
    weights = [w for group in clip.encoder.weights("image") for w in group.parameters]
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(steps):
        for batch, labels in images.batches(64, rng=torch.Generator().manual_seed(0)):
            optimizer.zero_grad()
            F.cross_entropy(50 * clip.encoder.encode_image(batch) @ classes.T, labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    folder.mkdir(parents=True)
    save(clip, folder / "model")
    return f"local-dir:{folder / 'model'}"
