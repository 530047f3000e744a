r"""Low-rank changes of chosen weights, ``W + (alpha / rank) B A``, on a copy of the model.

peft's LoRA is put where a linear layer or a convolution is run as a module. It is not where a function reads a weight
out of a module that never runs: the four projections of a ResNet's attention pool, which peft passes over in silence,
and a bare matrix such as a ViT's last projection. Nor in ``nn.MultiheadAttention``, where peft adapts input and output
projections together or not at all, and adds the change to the weight before every pass and takes it off again, so that
rounding moves the weight. There a parametrization of torch's stands in the place of the weight.

The copy keeps the structure of the model that is edited out of all this: what is written into it is its own weight plus
the change, tensor by tensor.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from efface.types import DualEncoder, WeightGroup

ADAPTER = "efface"


class LowRank(nn.Module):
    """A parametrization: the weight plus a change of low rank, over the weight's first axis and all others.

    Args:
        weight: at least two axes.
        rank: of the change.
        alpha: the change is ``alpha / rank`` times the product of its factors.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: int) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_zeros((rank, weight[0].numel())))
        self.up = nn.Parameter(weight.new_zeros((len(weight), rank)))

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The changed weight."""
        return weight + (self.scale * self.up @ self.down).view_as(weight)


@dataclass(frozen=True, slots=True)
class Adapted:
    """A copy of a model, of which some weights are trained.

    Attributes:
        encoder: the copy, that carries the change.
        parameters: what is trained.
        current: of each changed weight by its name in the model, what it is now.
    """

    encoder: DualEncoder
    parameters: list[nn.Parameter]
    current: Mapping[str, Callable[[], Tensor]]

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The changed weights as they are now, by their names in the model."""
        return {name: value().detach().clone() for name, value in self.current.items()}

    def state(self) -> list[Tensor]:
        """What is trained, on the CPU: the argument of :meth:`load_`."""
        return [parameter.detach().cpu().clone() for parameter in self.parameters]

    @torch.no_grad()
    def load_(self, state: Sequence[Tensor]) -> None:
        """Goes back to a state."""
        for parameter, value in zip(self.parameters, state, strict=True):
            parameter.copy_(value)


@torch.no_grad()
def write_(model: DualEncoder, weights: Mapping[str, Tensor]) -> None:
    """Puts weights into a model by their names; all others stay bit for bit."""
    for name, value in weights.items():
        model.module.get_parameter(name).copy_(value)


def adapted(
    model: DualEncoder, groups: Sequence[WeightGroup], rank: int, alpha: int, *, rng: torch.Generator
) -> Adapted:
    """A copy of the model whose chosen weights can be trained; so far it puts out what the model does.

    Args:
        model: only read.
        groups: of its image tower; a low rank leaves those of their parameters as they are that are no matrices.
        rank: of the change; 0 trains the weights themselves.
        alpha: the change is ``alpha / rank`` times the product of its factors.
        rng: draws the first factor; the second is 0.
    """
    wanted = {id(p) for group in groups for p in group.parameters}
    names = [name for name, p in model.module.named_parameters() if id(p) in wanted]
    encoder = copy.deepcopy(model)
    module = encoder.module.requires_grad_(False)
    if not rank:
        chosen = {name: module.get_parameter(name) for name in names}
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        return Adapted(encoder, list(chosen.values()), {name: p.detach for name, p in chosen.items()})
    names = [name for name in names if module.get_parameter(name).ndim > 1]
    run = _run_as_modules(encoder)
    through_peft = [name.removesuffix(".weight") for name in names if name.removesuffix(".weight") in run]
    factors: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
    current: dict[str, Callable[[], Tensor]] = {}
    if through_peft:
        _inject_(module, through_peft, rank, alpha)
    for name in names:
        place, _, attribute = name.rpartition(".")
        owner: Any = module.get_submodule(place)
        if place in through_peft:
            factors[name] = owner.lora_A[ADAPTER].weight, owner.lora_B[ADAPTER].weight
            current[name] = partial(_through_peft, owner)
        else:
            change = LowRank(getattr(owner, attribute), rank, alpha)
            parametrize.register_parametrization(owner, attribute, change)
            factors[name] = change.down, change.up
            current[name] = partial(getattr, owner, attribute)
    for down, up in factors.values():
        _draw_(down, up, rng)
    return Adapted(encoder, [p for pair in factors.values() for p in pair], current)


def _run_as_modules(encoder: DualEncoder) -> set[str]:
    """The names of the linear layers and convolutions that the image tower runs as modules, as peft knows them."""
    found: set[str] = set()
    kinds = {
        name: module
        for name, module in encoder.module.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: found.add(name)) for name, module in kinds.items()
    ]
    pixels = encoder.pixels
    try:
        with torch.no_grad():
            encoder.embed_image(torch.zeros((1, 3, pixels.height, pixels.width), device=encoder.device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _through_peft(layer: Any) -> Tensor:
    changed: Tensor = layer.base_layer.weight + layer.get_delta_weight(ADAPTER)
    return changed


def _inject_(module: nn.Module, names: list[str], rank: int, alpha: int) -> None:
    # Takes two seconds to import, and few runs need it.
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
    # What it draws is drawn anew; torch's global random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, module, adapter_name=ADAPTER)


@torch.no_grad()
def _draw_(down: nn.Parameter, up: nn.Parameter, rng: torch.Generator) -> None:
    """As LoRA begins: the first factor uniform within one over the root of its inputs, the second 0."""
    bound = 1 / math.sqrt(down[0].numel())
    down.copy_((2 * torch.rand(down.shape, generator=rng, device=rng.device) - 1) * bound)
    up.zero_()
    down.requires_grad_(True)
    up.requires_grad_(True)
