"""What a text tower finds in its table of tokens, and something else in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from efface.types import DualEncoder, Tokens


@contextmanager
def looked_up(
    encoder: DualEncoder, tokens: Tokens, change: Callable[[Tensor], Tensor] = lambda found: found
) -> Iterator[list[nn.Embedding]]:
    """Changes what the table of tokens gives to these tokens; the list that it hands out is told of the table.

    Args:
        encoder: the model; its text tower is run inside.
        tokens: that it is run on, on its device.
        change: of one vector a token, to as many of that shape; by default nothing.
    """
    seen: list[nn.Embedding] = []

    def put(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        # Positions are looked up too, in another table.
        if not args or args[0].shape != tokens.shape or not torch.equal(args[0], tokens):
            return None
        if isinstance(module, nn.Embedding):
            seen.append(module)
        return change(output)

    tables = [module for module in encoder.module.modules() if isinstance(module, nn.Embedding)]
    handles = [table.register_forward_hook(put) for table in tables]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
