"""What an edit did to the weights, tensor by tensor."""

from collections.abc import Mapping

import torch
from torch import Tensor

from efface.backends.base import digest
from efface.report.record import TensorDigest, Weights


def compare_weights(before: Mapping[str, Tensor], after: Mapping[str, Tensor] | None) -> Weights:
    """Digests of the weights before and after, and how far each tensor moved.

    Args:
        before: the base's tensors, as they are stored.
        after: the result's, of the same names and shapes; None where no model was made.
    """
    tensors = tuple(_compared(name, before[name], None if after is None else after[name]) for name in sorted(before))
    of = {tensor.name: tensor for tensor in tensors}
    changed = () if after is None else tuple(name for name in before if of[name].base != of[name].result)
    return Weights(digest(before), None if after is None else digest(after), changed, tensors)


def _compared(name: str, before: Tensor, after: Tensor | None) -> TensorDigest:
    relative, largest = (None, None) if after is None else _moved(before, after)
    return TensorDigest(
        name=name,
        dtype=str(before.dtype).removeprefix("torch."),
        shape=tuple(before.shape),
        base=digest({name: before}),
        result=None if after is None else digest({name: after}),
        relative_change=relative,
        largest_change=largest,
    )


def _moved(before: Tensor, after: Tensor) -> tuple[float | None, float]:
    """The norm of the difference over that of ``before``, and the largest difference of a single weight."""
    if not before.numel() or torch.equal(before, after):
        return (0.0 if before.numel() and bool(before.any()) else None), 0.0
    difference, norm = after.double() - before.double(), before.double().norm().item()
    return (difference.norm().item() / norm if norm else None), difference.abs().max().item()
