"""What every block of an image tower puts out, one vector an image."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from efface.types import DualEncoder, Features, Images

Vectors = Float[Tensor, "_ channels"]
AXES = {4: (2, 3), 3: (1,), 2: ()}
"""Of what a block puts out: the places of a map, the tokens of a sequence, or one vector already."""
BATCH = 256


@torch.no_grad()
def block_features(encoder: DualEncoder, images: Images) -> tuple[Mapping[str, Vectors], Features]:
    """The mean over places, or over tokens, of what each block puts out, and the features that the tower ends in.

    Args:
        encoder: only read.
        images: model input; taken in batches.

    Returns:
        By ``block 1``, ``block 2`` and so on, empty where the blocks of the tower are not known; and the unit vectors.
        All in float32 on the CPU.
    """
    caught: dict[str, list[Tensor]] = {}
    blocks = encoder.image_blocks()
    handles = [
        block.register_forward_hook(partial(_catch, caught.setdefault(f"block {number}", []).append))
        for number, block in enumerate(blocks, start=1)
    ]
    final = []
    try:
        for part in torch.split(images, BATCH):
            final.append(encoder.encode_image(part.to(encoder.device)).cpu())
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in caught.items()}, torch.cat(final)


def _catch(keep: Callable[[Tensor], None], _module: nn.Module, _args: object, output: object) -> None:
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise TypeError(f"a block puts out a {type(output).__name__}")
    axes = AXES[hidden.ndim]
    keep((hidden.float().mean(dim=axes) if axes else hidden.float()).cpu())
