"""When an image is still answered with its class: by the class's own text, or by another that means the same."""

import torch

from efface.encoding import predict
from efface.errors import InputError
from efface.types import ClassFeatures, DualEncoder, ForgetData, LabelledImages, Labels

Meanings = tuple[tuple[int, ...], ...]
"""Rows of the classes that mean the same: a class with its aliases and phrases."""


def meanings(data: ForgetData) -> Meanings:
    """The targets by what they mean; all of them one thing where nothing else is said.

    Raises:
        InputError: If all classes are one thing, so that there is none that an image could lead to instead.
    """
    found = (data.targets,) if data.target_groups is None else data.target_groups
    classes = len(data.class_tokens)
    if any(len(set(rows)) == classes for rows in found):
        raise InputError(
            f"every class ({classes} of {classes}) is to be forgotten as one thing: none is left to lead in its place",
            hint="add names of other classes, or let each class lose its own images: ForgetData.target_groups",
        )
    return found


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
