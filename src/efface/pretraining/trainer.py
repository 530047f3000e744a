"""One step of training, and all that the next step depends on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from jaxtyping import Float
from torch import Tensor, distributed, nn

from efface.backends.base import LoadedCLIP, not_finite
from efface.errors import InputError
from efface.functional.contrastive import clip_loss, siglip_loss
from efface.pretraining.batches import Batch, Share, derived_seed
from efface.pretraining.recipe import Recipe, Training
from efface.pretraining.towers import Towers
from efface.types import Features, Scalar

# Tables of places rather than maps: open_clip's, transformers' and timm's names of them.
PLACES = ("positional_embedding", "position_embedding", "pos_embed", "class_embedding", "cls_token", "cls_emb")


class Trainer:
    """A CLIP in training.

    Attributes:
        clip: what is trained.
        accelerator: device, processes and mixed precision.
        device: where the towers are.
    """

    def __init__(self, clip: LoadedCLIP, recipe: Recipe, accelerator: Accelerator) -> None:
        self.clip, self.accelerator, self.device = clip, accelerator, clip.encoder.device
        self._training = recipe.training
        self._bare = Towers(clip.encoder, recipe.training.logit_bias if recipe.training.loss == "siglip" else None)
        self._layout = torch.channels_last if recipe.training.channels_last else torch.contiguous_format
        self._bare.module.to(memory_format=self._layout)
        self._towers = accelerator.prepare_model(self._bare.train(), device_placement=False)
        self._optimizer = accelerator.prepare_optimizer(_optimizer(self._bare, self._training), device_placement=False)
        self._averages = self._snapshot() if self._training.ema else None

    @property
    def share(self) -> Share:
        """Which process this is."""
        return Share(self.accelerator.process_index, self.accelerator.num_processes)

    @property
    def scale(self) -> float:
        """What cosines are multiplied with now."""
        return self.clip.encoder.logit_scale.item()

    @property
    def bias(self) -> float | None:
        """The bias of the sigmoid loss now, where it is no weight of the model."""
        return None if self._bare.bias is None else self._bare.bias.item()

    def step_(self, batch: Batch, step: int, rate: float) -> Scalar:
        """Does one step and returns the loss of the batch before it, without waiting for it.

        Args:
            batch: this process's part.
            step: steps that were done before.
            rate: the learning rate.
        """
        # What the towers draw, for dropout say, follows from the step, as on a run that goes on from a checkpoint.
        torch.manual_seed(derived_seed(self._training.seed, "towers", step, self.share.index))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch)
        self.accelerator.backward(loss)
        if self._training.grad_clip:
            self.accelerator.clip_grad_norm_(self._bare.parameters(), self._training.grad_clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._bare.clamp_scale_(self._training.max_logit_scale)
        if self._averages is not None:
            self._average_(step)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Weights, averages and moments, on whatever device they are."""
        scaler = self.accelerator.scaler
        return {
            "towers": self._bare.state_dict(),
            "averages": self._averages,
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def not_finite(self) -> list[str]:
        """The names of weights and averages that are NaN or infinite."""
        return not_finite({**self._bare.state_dict(), **{f"average {k}": t for k, t in (self._averages or {}).items()}})

    def restore_(self, state: dict[str, Any]) -> None:
        """Goes back to what :meth:`state` gave."""
        self._bare.load_state_dict(state["towers"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self._averages is not None:
            for name, average in self._averages.items():
                average.copy_(state["averages"][name])

    @contextmanager
    def judged(self) -> Iterator[LoadedCLIP]:
        """The CLIP in evaluation mode, with averaged weights where the recipe has them."""
        module = self._bare.module
        current = self._snapshot() if self._averages is not None else None
        if self._averages is not None:
            module.load_state_dict(self._averages)
        module.eval()
        try:
            yield self.clip
        finally:
            if current is not None:
                module.load_state_dict(current)
            module.train()

    def finish_(self) -> LoadedCLIP:
        """The CLIP in evaluation mode, with averaged weights where the recipe has them; training is over."""
        if self._averages is not None:
            self._bare.module.load_state_dict(self._averages)
        self._bare.module.eval()
        return self.clip

    def _loss(self, batch: Batch) -> Scalar:
        images = batch.images.to(self.device, non_blocking=True).contiguous(memory_format=self._layout)
        tokens = batch.tokens.to(self.device, non_blocking=True)
        positive = batch.positive.to(self.device, non_blocking=True)
        own_images, own_texts, scale, bias = self._towers(images, tokens)
        # The texts are padded to equal parts; what is left out here has no gradient.
        all_images, all_texts = self._gathered(own_images), self._gathered(own_texts)[: positive.shape[1]]
        if self._training.loss == "clip":
            return clip_loss(all_images, all_texts, scale, positive)
        return siglip_loss(all_images, all_texts, scale, bias, positive)

    def _gathered(self, features: Features) -> Float[Tensor, "all dim"]:
        """The features of all processes in their order.

        Each process computes the loss of the whole batch. Going back, the gradients of all processes are summed here,
        which makes them too large by the number of processes, and averaged over the processes afterwards: what comes
        out is the gradient that one process with the whole batch would have.
        """
        if self.share.processes == 1:
            return features
        gathered: Tensor = _Gather.apply(features.contiguous(), self.share)
        return gathered

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._bare.module.state_dict().items()}

    @torch.no_grad()
    def _average_(self, step: int) -> None:
        # At the start the average would be of the random weights: it then looks back less far.
        decay = min(self._training.ema, (1 + step) / (10 + step))
        for name, tensor in self._bare.module.state_dict().items():
            average = (self._averages or {})[name]
            if average.is_floating_point():
                average.lerp_(tensor, 1 - decay)
            else:
                average.copy_(tensor)


class _Gather(torch.autograd.Function):
    """The rows of all processes; gradients come back from all of them, summed."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, share: Share) -> Tensor:
        ctx.share = share
        parts = [torch.empty_like(own) for _ in range(share.processes)]
        distributed.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(ctx.share.processes)[ctx.share.index], None


@contextmanager
def own_state() -> Iterator[None]:
    """Room for an accelerator of our own.

    accelerate keeps its settings once for the whole process: a caller's own, with another precision say, are put aside
    and are back afterwards, as is the process group if it was the caller's.
    """
    kinds = (AcceleratorState, PartialState, GradientState)
    theirs = [dict(kind._shared_state) for kind in kinds]
    had_group = _has_group()
    try:
        yield
    finally:
        if _has_group() and not had_group:
            distributed.destroy_process_group()
        for kind, state in zip(kinds, theirs, strict=True):
            kind._shared_state.clear()
            kind._shared_state.update(state)


def accelerator_for(training: Training, device: str) -> Accelerator:
    """Processes and mixed precision, of this process alone or of those that a launcher started.

    What accelerate held before is lost outside of :func:`own_state`.

    Raises:
        InputError: If the device cannot compute in the precision, or the batch is no multiple of the processes.
    """
    if training.precision == "fp16" and device == "cpu":
        raise InputError("fp16 needs a GPU: its gradients must be scaled", hint='set training.precision to "bf16"')
    # What is kept from before would refuse another precision or device.
    for kind in (AcceleratorState, PartialState, GradientState):
        kind._shared_state.clear()
    try:
        made = Accelerator(device_placement=False, mixed_precision=training.precision, cpu=device == "cpu")
    except ValueError as error:
        raise InputError(
            f"{training.precision} cannot be used on {device}: {error}", hint='set training.precision to "no"'
        ) from error
    if training.batch_size % made.num_processes:
        raise InputError(
            f"a batch of {training.batch_size} cannot be dealt to {made.num_processes} processes",
            hint="make training.batch_size a multiple of the processes",
        )
    return made


def _has_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: to matrices and convolutions, not to gains, biases and tables of places."""
    return parameter.ndim >= 2 and not any(place in name for place in PLACES)


def _optimizer(towers: nn.Module, training: Training) -> torch.optim.Optimizer:
    named = [(name, parameter) for name, parameter in towers.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": training.weight_decay},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas, eps=training.eps, fused=True)
