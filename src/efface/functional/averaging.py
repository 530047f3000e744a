"""Averages of weights: along a course of training, and between its two ends."""

import torch
from jaxtyping import Float
from torch import Tensor


def moving_average(average: Tensor, current: Tensor, decay: float) -> Tensor:
    """The exponential moving average after one more value: ``decay * average + (1 - decay) * current``."""
    return torch.lerp(average, current, 1 - decay)


def beta_weights(steps: int, beta: float) -> Float[Tensor, " values"]:
    r"""What each of the values ``0 ... steps`` of a course counts in CLIPood's average, up to a factor.

    ``w_t = x^(beta-1) (1-x)^(beta-1)`` with ``x = (t + 0.5) / (steps + 1)``: the density of the Beta distribution
    without its constant, which a weighted mean has no use for. Shu et al., ICML 2023 (arXiv 2302.00864), whose value 0
    is the zero-shot model. Below 1 both ends count most, at 1 all count alike.

    Args:
        steps: of training; value 0 is that before the first.
        beta: above 0.
    """
    x = (torch.arange(steps + 1, dtype=torch.float64) + 0.5) / (steps + 1)
    return (x * (1 - x)) ** (beta - 1)


def beta_ratios(steps: int, beta: float) -> Float[Tensor, " steps"]:
    """What each of the values ``1 ... steps`` counts in CLIPood's average over all before it, see :func:`beta_weights`.

    Args:
        steps: of training, at least 1.
        beta: above 0 and at most 10, so that no weight comes near 0 for a float.
    """
    weights = beta_weights(steps, beta)
    return weights[1:] / weights.cumsum(0)[:-1]


def weighted_average(average: Tensor, current: Tensor, ratio: float) -> Tensor:
    """A weighted mean after one more value: ``(average + ratio * current) / (1 + ratio)``.

    Args:
        average: of the values before.
        current: the next one.
        ratio: its weight over the sum of the weights before.
    """
    return torch.lerp(average, current, ratio / (1 + ratio))


def soup(reference: Tensor, edited: Tensor, coefficient: float) -> Tensor:
    """``coefficient * edited + (1 - coefficient) * reference``; at 0 and 1 theirs bit for bit.

    Wortsman et al., CVPR 2022 (arXiv 2109.01903), with the edited model in the place of the fine-tuned one.
    """
    if coefficient in (0, 1):
        return (edited if coefficient else reference).clone()
    return torch.lerp(reference, edited, coefficient)
