"""Texts and images through a dual encoder, in batches."""

import torch
from torch import Tensor

from efface.errors import NotFiniteError
from efface.fitting import Fitting
from efface.functional.similarity import class_features, top_classes
from efface.types import ClassFeatures, ClassTokens, DualEncoder, Features, Images, Labels, Tower

TEXT_BATCH = 512


@torch.no_grad()
def encode_classes(model: DualEncoder, tokens: ClassTokens, limit: int | None = None) -> ClassFeatures:
    """One unit vector a class, from all its texts, without gradients.

    Args:
        model: only read.
        tokens: the texts of all classes.
        limit: bytes of memory that may be held; see :class:`~efface.fitting.Fitting`.

    Raises:
        NotFiniteError: If a feature is NaN or infinite.
    """
    classes, prompts, context = tokens.shape
    flat = tokens.reshape(classes * prompts, context).to(model.device)
    features = Fitting(TEXT_BATCH, "texts", limit)(model.encode_text, flat)
    return class_features(finite(features, "text").view(classes, prompts, -1))


@torch.no_grad()
def predict(model: DualEncoder, images: Images, classes: ClassFeatures) -> Labels:
    """The nearest class of each image, without gradients.

    Raises:
        NotFiniteError: If a feature is NaN or infinite.
    """
    features = finite(model.encode_image(images.to(model.device)), "image")
    nearest: Tensor = top_classes(features, classes, 1)
    return nearest[:, 0]


def finite(features: Features, tower: Tower) -> Features:
    """The features, after making sure that they are finite: the class nearest to NaN would be any.

    Raises:
        NotFiniteError: If one is not; it names the tower.
    """
    if not features.isfinite().all():
        raise NotFiniteError(
            f"the {tower} tower puts out NaN or infinite features",
            hint="if it was just trained, lower the learning rate; else compute in fp32",
        )
    return features
