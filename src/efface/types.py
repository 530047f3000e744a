"""Array types, and the protocols through which the parts of efface see each other.

Axes: ``batch`` images, texts or both; ``classes``; ``prompts`` texts of one class; ``context`` tokens of one text;
``dim`` the shared feature space; ``height`` and ``width`` in pixels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from efface.noting import Checkpoint as Checkpoint
from efface.noting import State as State
from efface.noting import Unkept as Unkept
from efface.noting import Within as Within

Scalar = Float[Tensor, ""]
Images = Float[Tensor, "batch 3 height width"]
"""Model input: pixels in [0, 1] less the model's own mean, over its own standard deviation."""
Labels = Int[Tensor, " batch"]
Tokens = Int[Tensor, "batch context"]
ClassTokens = Int[Tensor, "classes prompts context"]
Embeddings = Float[Tensor, "batch dim"]
"""What a tower puts out, of any length."""
Features = Float[Tensor, "batch dim"]
"""Embeddings scaled to unit length, in float32."""
ClassFeatures = Float[Tensor, "classes dim"]
"""One unit vector a class."""

Tower = Literal["image", "text"]
Part = Literal["embedding", "stem", "blocks", "norm", "pool", "projection"]
"""Where in a tower a weight sits: tables of tokens and positions; the convolutions before the blocks; the residual
blocks; a normalisation before or after them; an attention pool; the last map into the shared space."""


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Parameters that are ranked and edited as one.

    Checkpoint formats split the same weights differently (query, key and value are one tensor in OpenAI's layout and
    three in transformers'); a backend groups them, so that a method selects the same weights in each format.
    """

    name: str
    part: Part
    is_batch_norm: bool
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True, slots=True)
class PixelSpace:
    """How a model reads pixels: its image size, and the statistics that its input is normalised with."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    height: int
    width: int

    def normalize(self, pixels: Images) -> Images:
        """Model input for pixels in [0, 1]."""
        mean, std = self._statistics(pixels)
        return (pixels - mean) / std

    def denormalize(self, images: Images) -> Images:
        """The inverse of :meth:`normalize`."""
        mean, std = self._statistics(images)
        return images * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, 3, 1, 1)
        return like.new_tensor(self.mean).view(shape), like.new_tensor(self.std).view(shape)


@runtime_checkable
class DualEncoder(Protocol):
    """What a method, a synthesis or an evaluation may do with a CLIP. Always in evaluation mode."""

    @property
    def module(self) -> nn.Module:
        """All weights and buffers."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def precision(self) -> torch.dtype:
        """What the towers compute in; weights and embeddings are float32 whatever this says."""
        ...

    @property
    def pixels(self) -> PixelSpace:
        """How the image tower reads pixels."""
        ...

    @property
    def logit_scale(self) -> Scalar:
        """What cosines are multiplied with, already exponentiated."""
        ...

    def embed_image(self, images: Images) -> Embeddings:
        """Image embeddings as the tower puts them out, in float32."""
        ...

    def embed_text(self, tokens: Tokens) -> Embeddings:
        """Text embeddings as the tower puts them out, in float32."""
        ...

    def encode_image(self, images: Images) -> Features:
        """Image embeddings scaled to unit length."""
        ...

    def encode_text(self, tokens: Tokens) -> Features:
        """Text embeddings scaled to unit length."""
        ...

    def weights(self, tower: Tower) -> tuple[WeightGroup, ...]:
        """Every parameter of a tower, grouped, in a fixed order. The logit scale belongs to neither."""
        ...

    def image_blocks(self) -> tuple[nn.Module, ...]:
        """The blocks that the image tower goes through, first to last, an attention pool included.

        Each is called once an image batch, its first argument is what the one before put out, batch first. Empty where
        the tower is of a kind whose blocks are not known.
        """
        ...

    def fold_image_map_(self, matrix: Float[Tensor, "dim dim"]) -> None:
        """Changes the last image weights so that each embedding ``f`` becomes ``f @ matrix``.

        Raises:
            InputError: If the image tower does not end in a linear map.
        """
        ...


@runtime_checkable
class LabelledImages(Protocol):
    """Images with a label each, handed out in batches; never more than some batches in memory."""

    @property
    def labels(self) -> Labels:
        """The label of every image, in stored order."""
        ...

    def __len__(self) -> int: ...

    def batches(
        self, size: int, *, rng: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Images, Labels]]:
        """Every image once, ``size`` at a time: shuffled by ``rng``, else as stored; without the ``first``."""
        ...


def row_order(n: int, rng: torch.Generator | None) -> Int[Tensor, " n"]:
    """The rows 0 to n - 1 on the CPU: shuffled by ``rng``, in order without one."""
    return torch.arange(n) if rng is None else torch.randperm(n, generator=rng, device=rng.device).cpu()


@dataclass(frozen=True, slots=True)
class TensorImages:
    """Labelled images that are few enough to be held in memory, synthetic ones say."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, size: int, *, rng: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Images, Labels]]:
        """Every image once, ``size`` at a time: shuffled by ``rng``, else as stored; without the ``first``."""
        if rng is None:  # parts of what is held, not copies
            yield from zip(torch.split(self.images[first:], size), torch.split(self.labels[first:], size), strict=True)
            return
        for rows in torch.split(row_order(len(self), rng)[first:], size):
            yield self.images[rows.to(self.images.device)], self.labels[rows.to(self.labels.device)]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method asks the pipeline for.

    Attributes:
        forget_images: how many images of a class; synthesised when the user gives none; 0 for none.
        guard_images: how many images of other classes, half of them of the nearest; always synthesised.
        retain_images: how many images of what is to stay beside what is forgotten; 0 for none.
        calibration_images: how many of each side, forget and retain, to choose a setting by; 0 for none.
        prompt: a template with ``{}`` for the texts that it trains on; None where the class texts are enough.
        more_prompts: templates in which it wants the texts of all classes, beside those of the request.
    """

    forget_images: int = 0
    guard_images: int = 0
    retain_images: int = 0
    calibration_images: int = 0
    prompt: str | None = None
    more_prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetData:
    """All that a method gets to see; what judges it is a different type.

    Attributes:
        targets: the rows of ``class_tokens`` that are to be forgotten: the classes, their aliases, the phrases.
        class_tokens: the texts of all classes of the request, then those of every alias and phrase.
        prompt_tokens: a row a target, in their order, in the template of :attr:`Needs.prompt`, phrases as they are;
            None where no such texts were asked for.
        more_tokens: the texts of ``class_tokens`` in the templates of :attr:`Needs.more_prompts`; likewise.
        forget: images of the targets, whose labels are rows of ``class_tokens``; None where none were asked for.
        guard: images near other classes, whose labels are rows of ``class_tokens``; None where none were asked for.
        retain: images of what is to stay; of a target's class too where ``forget`` is one kind of its images alone.
        calibration: more of what is to stay, to choose by and not to train on; of each, None where there are none.
        calibration_forget: more of what is to be forgotten, likewise.
        pool: any images, whose statistics stand for the model's pre-training where it has not kept them.
        target_groups: the targets class by class, each with its aliases and phrases, where images of several classes
            are each to lose their own (a style of many classes, say); None where all targets are one thing.
    """

    targets: tuple[int, ...]
    class_tokens: ClassTokens
    prompt_tokens: Tokens | None = None
    forget: LabelledImages | None = None
    guard: LabelledImages | None = None
    more_tokens: Int[Tensor, "classes more context"] | None = None
    retain: LabelledImages | None = None
    calibration: LabelledImages | None = None
    calibration_forget: LabelledImages | None = None
    pool: LabelledImages | None = None
    target_groups: tuple[tuple[int, ...], ...] | None = None


Step = Mapping[str, float | int | str | bool | list[str]]
"""What one step of a procedure did and measured, under names that explain themselves."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a procedure did, step by step, and whether it reached its own goal."""

    steps: tuple[Step, ...]
    reached: bool
    reason: str


@runtime_checkable
class Reporter(Protocol):
    """Where long work reports how far it is."""

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Opens a stage of ``total`` units (None: unknown); the callable is told of every finished one."""
        ...


class Silent:
    """A reporter that says nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A stage that nobody follows."""
        del name, total
        yield lambda _: None
