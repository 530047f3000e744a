"""What a method is, and the one training loop that methods share."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from efface.encoding import predict
from efface.errors import NotFiniteError
from efface.types import (
    Checkpoint,
    ClassFeatures,
    DualEncoder,
    ForgetData,
    Images,
    LabelledImages,
    Labels,
    Needs,
    Reporter,
    Scalar,
    Step,
    Trace,
    Unkept,
    WeightGroup,
)

Batch = tuple[Num[Tensor, "batch ..."], Labels]
"""Images or texts, or what a part of the tower makes of them; and a number of each."""


@runtime_checkable
class ForgetMethod(Protocol):
    """A way to forget: an immutable dataclass whose fields are all of its settings."""

    summary: ClassVar[str]
    """One line for a list of methods."""

    @property
    def needs(self) -> Needs:
        """What the pipeline must hand it."""
        ...

    def edit_(
        self, model: DualEncoder, reference: DualEncoder, data: ForgetData, *, rng: torch.Generator, reporter: Reporter
    ) -> Trace:
        """Changes the weights of ``model``; ``reference`` holds them as they were, and stays as it is.

        A method that can go on after it was stopped takes ``checkpoint`` too, a :class:`~efface.types.Checkpoint`.
        The pipeline puts back the weights and the random numbers that belong to what it notes there; one without
        begins anew.

        Args:
            model: the model to edit, in evaluation mode; BatchNorm's running statistics must not move.
            reference: the untouched model.
            data: all that the method gets to see.
            rng: on the model's device; the only source of random numbers.
            reporter: told how far it is.

        Returns:
            The steps, and whether the method reached its own goal.
        """
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a round: whether its weights are kept or rolled back, and whether it was the last."""

    keep: bool
    stop: bool
    notes: Step = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where a method looks into the loop.

    Attributes:
        end_of_round: given the round's number, judges it.
        after_backward: may mask gradients: a parameter whose gradient is None is left out of the step.
        after_step: called after every optimiser step; True leaves the round.
    """

    end_of_round: Callable[[int], Verdict]
    after_backward: Callable[[], None] = lambda: None
    after_step: Callable[[], bool] = lambda: False


def fit_(  # noqa: PLR0913 (a loop is what goes into it)
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterable[Batch]],
    loss: Callable[[Batch], Mapping[str, Scalar]],
    hooks: Hooks,
    *,
    rounds: int,
    accumulate: int = 1,
    checkpoint: Checkpoint | None = None,
) -> list[Step]:
    """Trains the optimiser's parameters, round by round, and returns what each round did.

    A round is one pass over the batches. The weights and the optimiser's state are noted when it starts, and put back
    when ``hooks.end_of_round`` does not keep it.

    Args:
        optimizer: over the parameters that may move.
        batches: called once a round.
        loss: named terms, whose sum is minimised.
        hooks: see :class:`Hooks`.
        rounds: how many at most.
        accumulate: batches whose gradients add up to one step; each counts ``1 / accumulate``.
        checkpoint: told of the rounds and the optimiser after every round; the weights are the caller's to note.

    Raises:
        NotFiniteError: If a term is NaN or infinite; it names the term and the round.
    """
    checkpoint = checkpoint or Unkept()
    history: list[Step] = []
    known = checkpoint.take()
    if known is not None:
        history += known["history"]
        optimizer.load_state_dict(known["optimizer"])
    for number in range(len(history), rounds):
        undo = _undo(optimizer)
        losses = []
        optimizer.zero_grad(set_to_none=True)
        for index, (batch, is_last) in enumerate(_with_last(batches()), start=1):
            total = _total(loss(batch), f"round {number}")
            (total / accumulate).backward()  # type: ignore[no-untyped-call]
            losses.append(total.item())
            hooks.after_backward()
            if index % accumulate == 0 or is_last:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if hooks.after_step():
                    break
        verdict = hooks.end_of_round(number)
        if not verdict.keep:
            undo()
        history.append({"round": number, "loss": sum(losses) / len(losses), "kept": verdict.keep, **verdict.notes})
        if verdict.stop:
            break
        checkpoint.offer(lambda: {"history": history, "optimizer": optimizer.state_dict()})
    return history


@contextmanager
def only_trainable(module: nn.Module, groups: Sequence[WeightGroup]) -> Iterator[list[nn.Parameter]]:
    """Asks for the gradients of these groups alone, and afterwards of those that had them before."""
    wanted = {id(p): p for group in groups for p in group.parameters}
    before = [(p, p.requires_grad) for p in module.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in wanted)
    try:
        yield list(wanted.values())
    finally:
        for parameter, had in before:
            parameter.requires_grad_(had)
            parameter.grad = None


def add_noise(images: Images, sigma: float, *, rng: torch.Generator) -> Images:
    """The images plus normal noise, clamped to the least and the largest value in the batch.

    Args:
        images: model input.
        sigma: standard deviation, in model input units.
        rng: on the images' device.
    """
    noise = torch.randn(images.shape, generator=rng, device=images.device, dtype=images.dtype)
    return (images + sigma * noise).clamp(images.min(), images.max())


def noisy_outputs(
    outputs: Callable[[Images], Float[Tensor, "batch dim"]],
    images: Images,
    sigma: float,
    samples: int,
    *,
    rng: torch.Generator,
) -> tuple[Float[Tensor, "draws batch dim"], Float[Tensor, "draws batch"]]:
    """What a model puts out for noisy copies of images, without gradients, and the length of the noise of each copy.

    Args:
        outputs: the model.
        images: model input.
        sigma: standard deviation of the noise, see :func:`add_noise`.
        samples: copies of each image.
        rng: on the images' device.
    """
    noisy, distance = [], []
    with torch.no_grad():
        for _ in range(samples):
            copies = add_noise(images, sigma, rng=rng)
            noisy.append(outputs(copies))
            distance.append((copies - images).flatten(1).norm(dim=1))
    return torch.stack(noisy), torch.stack(distance)


def share_taken_for(
    targets: Sequence[int], model: DualEncoder, classes: ClassFeatures, images: LabelledImages, size: int
) -> float:
    """The share of the images whose nearest class is one of the targets.

    An image of one target that is taken for another is not forgotten either.

    Args:
        targets: rows of the classes.
        model: only read.
        classes: the texts of all classes.
        images: images of the targets.
        size: images at a time.

    Raises:
        NotFiniteError: If a feature is NaN or infinite.
    """
    predicted = torch.cat([predict(model, batch, classes).cpu() for batch, _ in images.batches(size)])
    return torch.isin(predicted, torch.tensor(targets)).double().mean().item()


def is_resnet(model: DualEncoder) -> bool:
    """Whether the image tower normalises by batch, which tells a ResNet from a transformer."""
    return any(group.is_batch_norm for group in model.weights("image"))


def largest_gradients(groups: Sequence[WeightGroup], count: int) -> list[WeightGroup]:
    """The ``count`` groups with the largest mean absolute gradient, largest first; those without one are left out."""

    def score(group: WeightGroup) -> float:
        gradients = [p.grad for p in group.parameters if p.grad is not None]
        size = sum(p.numel() for p in group.parameters)
        return sum(g.abs().sum().item() for g in gradients) / size

    return sorted((g for g in groups if any(p.grad is not None for p in g.parameters)), key=score, reverse=True)[:count]


def _total(terms: Mapping[str, Scalar], where: str) -> Tensor:
    for name, value in terms.items():
        if not value.isfinite():
            raise NotFiniteError(
                f"the loss term {name!r} is {value.item()} in {where}",
                hint="lower the learning rate, or compute in fp32",
            )
    return torch.stack(list(terms.values())).sum()


def _undo(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Notes weights and optimiser state; calling the result puts them back."""
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    values = [p.detach().clone() for p in parameters]
    state = copy.deepcopy(optimizer.state_dict())

    @torch.no_grad()
    def undo() -> None:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
        optimizer.load_state_dict(state)

    return undo


def _with_last(items: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each item, and whether none follows it."""
    rest = iter(items)
    held = next(rest, None)
    while held is not None:
        following = next(rest, None)
        yield held, following is None
        held = following
