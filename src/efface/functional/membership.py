"""What tells images that a model was trained on from others: how sure it is of them.

Every signal is made of the probabilities alone. Published code differs from published formulas here, and figures made
by it cannot be compared: this follows the formulas.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from efface.types import Labels

Logits = Float[Tensor, "batch classes"]
Signal = Float[Tensor, " batch"]
SMALLEST = 1e-30
"""Probabilities below this count as this much, so that no signal is infinite."""


def entropy(logits: Logits) -> Signal:
    """How unsure an answer is, whatever the truth: ``-sum_i p_i log p_i`` in nats, 0 to the log of the classes."""
    logs = F.log_softmax(logits.double(), dim=1)
    return -(logs.exp() * logs).sum(dim=1)


def modified_entropy(logits: Logits, labels: Labels) -> Signal:
    r"""How unsure an answer is, or how sure and wrong: ``-(1 - p_y) log p_y - \sum_{i \ne y} p_i log(1 - p_i)``.

    Song and Mittal 2021 (arXiv 2003.10595), equation 8. A sure right answer has 0, a sure wrong one much, where the
    plain entropy gives both the same.

    Args:
        logits: of each image.
        labels: the class of each.

    Returns:
        At least 0, in nats; finite.
    """
    logs = F.log_softmax(logits.double(), dim=1).clamp_min(math.log(SMALLEST))
    of_others = _log_of_rest(logits).clamp_min(math.log(SMALLEST))
    own = labels[:, None]
    terms = logs.exp() * of_others
    others = terms.sum(dim=1) - terms.gather(1, own)[:, 0]
    return -(of_others.gather(1, own).exp() * logs.gather(1, own))[:, 0] - others


def confidence(logits: Logits, labels: Labels) -> Signal:
    """The probability of the true class, in [0, 1]."""
    return logits.double().softmax(dim=1).gather(1, labels[:, None])[:, 0]


def correctness(logits: Logits, labels: Labels) -> Signal:
    """1 where the answer is right, else 0."""
    return (logits.argmax(dim=1) == labels).double()


def signals(logits: Logits, labels: Labels) -> Float[Tensor, "batch 4"]:
    """Correctness, confidence, entropy and modified entropy of each image, in this order."""
    columns = (
        correctness(logits, labels),
        confidence(logits, labels),
        entropy(logits),
        modified_entropy(logits, labels),
    )
    return torch.stack(columns, dim=1)


def _log_of_rest(logits: Logits) -> Float[Tensor, "batch classes"]:
    """``log(1 - p_i)`` of every class; of the likeliest from what the others have, as ``p_i`` may round to 1."""
    double = logits.double()
    logs = F.log_softmax(double, dim=1)
    first = double.argmax(dim=1, keepdim=True)
    others = double.scatter(1, first, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.log1p(-logs.exp()).scatter(1, first, others - double.logsumexp(dim=1, keepdim=True))
