"""Texts and images through a dual encoder, in batches."""

import torch
from torch import Tensor

from efface.functional.similarity import class_features, top_classes
from efface.types import ClassFeatures, ClassTokens, DualEncoder, Images, Labels

TEXT_BATCH = 512


@torch.no_grad()
def encode_classes(model: DualEncoder, tokens: ClassTokens) -> ClassFeatures:
    """One unit vector a class, from all its texts, without gradients."""
    classes, prompts, context = tokens.shape
    flat = tokens.reshape(classes * prompts, context).to(model.device)
    features = torch.cat([model.encode_text(chunk) for chunk in torch.split(flat, TEXT_BATCH)])
    return class_features(features.view(classes, prompts, -1))


@torch.no_grad()
def predict(model: DualEncoder, images: Images, classes: ClassFeatures) -> Labels:
    """The nearest class of each image, without gradients."""
    nearest: Tensor = top_classes(model.encode_image(images.to(model.device)), classes, 1)
    return nearest[:, 0]
