"""When an image is still answered with its class: by the class's own text, or by another that means the same."""

import torch

from efface.encoding import predict
from efface.types import ClassFeatures, DualEncoder, ForgetData, LabelledImages, Labels

Meanings = tuple[tuple[int, ...], ...]
"""Rows of the classes that mean the same: a class with its aliases and phrases."""


def meanings(data: ForgetData) -> Meanings:
    """The targets by what they mean; all of them one thing where nothing else is said."""
    return (data.targets,) if data.target_groups is None else data.target_groups


def share_left(answers: Labels, labels: Labels, of: Meanings) -> float:
    """The share of images that are answered with their own class, or with what means the same.

    Args:
        answers: rows of the classes.
        labels: of the same images, rows likewise.
        of: what means the same; a row that stands nowhere means itself.
    """
    left = answers == labels
    for rows in of:
        same = torch.tensor(rows, device=labels.device)
        left = left | (torch.isin(labels, same) & torch.isin(answers, same))
    return left.double().mean().item()


def answered(model: DualEncoder, classes: ClassFeatures, images: LabelledImages, size: int) -> tuple[Labels, Labels]:
    """What images are answered with, and their labels, on the CPU.

    Raises:
        NotFiniteError: If a feature is NaN or infinite.
    """
    found = [(predict(model, batch, classes).cpu(), labels.cpu()) for batch, labels in images.batches(size)]
    return torch.cat([answers for answers, _ in found]), torch.cat([labels for _, labels in found])
