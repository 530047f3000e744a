"""The last features of an image tower before the map into the shared space, caught on their way through the tower."""

from collections.abc import Callable
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor, nn

from efface.errors import InputError
from efface.types import Images


def of_open_clip(visual: Any, images: Images) -> Float[Tensor, "batch channels"]:
    """Penultimate features of an image tower of open_clip.

    Of a ResNet what enters the attention pool, the mean over its places; of a ViT what the projection is multiplied
    with; of timm's what enters the attention pool, the mean over tokens, or where there is none what enters the last
    linear map.

    Raises:
        InputError: If the tower is of another kind.
    """
    if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
        return entering(visual.attnpool, lambda: visual(images))
    if isinstance(visual, open_clip.transformer.VisionTransformer):
        return _unprojected(visual, images)
    if isinstance(visual, open_clip.timm_model.TimmModel):
        pool = getattr(visual.trunk, "attn_pool", None)
        last = visual.head if len(visual.head) else visual.trunk.get_classifier()
        return entering(last if pool is None else pool, lambda: visual(images))
    raise InputError(
        f"where the features of the image tower {type(visual).__name__} end is not known",
        hint="use a model with open_clip's own ResNet or ViT towers, or timm's",
    )


def entering(module: nn.Module, run: Callable[[], object]) -> Float[Tensor, "batch channels"]:
    """What a module is handed while ``run`` runs; of a map of places, or of tokens, their mean.

    Args:
        module: called once by ``run``, with maps of the axes batch, channels, height and width, or with tokens of
            the axes batch, tokens and channels, or with one vector an image.
        run: a forward pass through it.
    """
    caught: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    try:
        run()
    finally:
        handle.remove()
    (hidden,) = caught
    return {4: lambda: hidden.mean(dim=(2, 3)), 3: lambda: hidden.mean(dim=1), 2: lambda: hidden}[hidden.ndim]()


def _unprojected(visual: Any, images: Images) -> Tensor:
    # The projection is a weight and no module to catch features at: an identity in its place lets them through.
    swap = {} if visual.proj is None else {"proj": torch.eye(len(visual.proj)).to(visual.proj)}
    out = torch.func.functional_call(visual, swap, (images,))
    pooled: Tensor = out[0] if isinstance(out, tuple) else out
    return pooled
