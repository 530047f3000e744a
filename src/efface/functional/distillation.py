"""Holding a model to another one's answers: what its images are near to, text by text."""

import torch.nn.functional as F

from efface.functional.similarity import zero_shot_logits
from efface.types import ClassFeatures, Features, Scalar


def row_divergence(features: Features, taught: Features, classes: ClassFeatures, scale: Scalar) -> Scalar:
    r"""How far each image's row of similarities to the texts is from the teacher's: ``mean_i KL(p_i || q_i)``.

    ``p_i = softmax(scale f_i^T G)`` with the teacher's features, ``q_i`` with the student's, over all class texts, not
    those of a batch alone. Hinton et al. 2015 (arXiv 1503.02531) at temperature 1: the model's own scale is one.

    Args:
        features: of the student, of unit length; gradient flows.
        taught: of the teacher, of unit length.
        classes: one unit vector a class, the same for both.
        scale: what cosines are multiplied with.

    Returns:
        In nats, at least 0; 0 where the rows are equal.
    """
    rows = zero_shot_logits(features, classes, scale).log_softmax(dim=1)
    wanted = zero_shot_logits(taught, classes, scale).log_softmax(dim=1)
    return F.kl_div(rows, wanted, reduction="batchmean", log_target=True)
