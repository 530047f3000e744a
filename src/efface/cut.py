"""A tower cut in two: a trunk that is run once an image, and a tail that is run again and again.

Who trains the last blocks alone need not run those before them in every step.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from efface.types import DualEncoder, Features, Images, WeightGroup

ALWAYS_AFTER = ("pool", "projection")
"""Parts of a tower that come after its blocks, wherever their weights are listed."""
BATCH = 256


class _ReachedError(Exception):
    """The trunk is run, and what follows is not wanted."""


@dataclass(frozen=True, slots=True)
class CutTower:
    """The image tower of a model, cut before its last blocks.

    Attributes:
        model: whose tower; two models of one architecture that are cut alike share what their trunks put out.
        depth: how many of its blocks belong to the tail; all of them, and the layers before, where it has no more.
    """

    model: DualEncoder
    depth: int

    @property
    def tail(self) -> tuple[nn.Module, ...]:
        """The blocks of the tail; none where the whole tower is."""
        blocks = self.model.image_blocks()
        return blocks[-self.depth :] if len(blocks) > self.depth else ()

    @torch.no_grad()
    def activations(self, images: Images) -> Tensor:
        """What the tail starts from, an image a row: the trunk's output, or the images where all is tail."""
        if not self.tail:
            return images.to(self.model.device)
        return torch.cat([self._reach(part) for part in torch.split(images.to(self.model.device), BATCH)])

    def features(self, activations: Tensor) -> Features:
        """Image features of unit length from what the tail starts from; gradients reach the tail alone."""
        if not self.tail:
            return self.model.encode_image(activations)
        pixels = self.model.pixels
        # What comes before the tail runs on one empty image, and the tail is handed something else in its place.
        empty = torch.zeros((1, 3, pixels.height, pixels.width), device=activations.device)
        stand_in = empty.expand(len(activations), -1, -1, -1)
        with (
            _first_argument(self.model.module.modules(), lambda images: images[:1]),
            _first_argument([self.tail[0]], lambda one: activations.to(one.dtype)),
        ):
            return self.model.encode_image(stand_in)

    @torch.no_grad()
    def all_features(self, activations: Tensor) -> Features:
        """Image features of unit length from what the tail starts from, in batches and without gradients."""
        return torch.cat([self.features(part) for part in torch.split(activations, BATCH)])

    def groups(self) -> list[WeightGroup]:
        """The weights of the tail, without BatchNorm's and without tables of positions."""
        groups = [g for g in self.model.weights("image") if not g.is_batch_norm and g.part != "embedding"]
        if not self.tail:
            return groups
        blocks = self.model.image_blocks()
        before, tail = (
            {id(p) for block in part for p in block.parameters()} for part in (blocks[: -self.depth], self.tail)
        )
        found, after = [], set(ALWAYS_AFTER)
        for group in groups:
            ids = {id(p) for p in group.parameters}
            if ids & tail:
                # There are norms before the blocks and after them: only those that are listed later come later.
                after.add("norm")
            if not ids & before and (ids & tail or group.part in after):
                found.append(group)
        return found

    def _reach(self, images: Images) -> Tensor:
        """The first argument of the tail, in float32; what follows it is not run."""
        reached: list[Tensor] = []

        def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            reached.append(args[0] if args else next(iter(kwargs.values())))
            raise _ReachedError

        handle = self.tail[0].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self.model.encode_image(images)
        except _ReachedError:
            return reached[0].float()
        finally:
            handle.remove()
        raise RuntimeError("the tower did not run its own blocks")


@contextmanager
def _first_argument(modules: Iterable[nn.Module], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Changes the first argument of that of the modules which is called first, in that call alone."""
    handles: list[RemovableHandle] = []

    def put(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        remove()
        if args:
            return (change(args[0]), *args[1:]), kwargs
        name, old = next(iter(kwargs.items()))
        return args, {**kwargs, name: change(old)}

    def remove() -> None:
        for handle in handles:
            handle.remove()

    handles += [module.register_forward_pre_hook(put, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        remove()
