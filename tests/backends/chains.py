"""What the blocks that a backend names must be to each other."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from efface.types import DualEncoder, Images


@torch.no_grad()
def is_chain(encoder: DualEncoder, images: Images) -> bool:
    """Whether each block is called once, on what the one before put out, an image a row."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls.append((block, args[0], output))

    blocks = encoder.image_blocks()
    handles = [block.register_forward_hook(note) for block in blocks]
    encoder.embed_image(images)
    for handle in handles:
        handle.remove()
    return (
        [block for block, _, _ in calls] == list(blocks)
        and all(torch.equal(before[2], after[1]) for before, after in pairwise(calls))
        and {len(given) for _, given, _ in calls} == {len(images)}
    )
