r"""LIP: make what the model says of a class insensitive to heavy noise, until it no longer says the class.

    L = 1/(2S) sum_k | sum_i (||g(t) - f(x_i^k)|| + ||f(x_i) - f(x_i^k)||) / (2 ||x_i - x_i^k||) |

Image embeddings ``f(x_i)`` of the class and the embedding ``g(t)`` of its text are pulled to the embeddings of noisy
copies ``x_i^k``, which carry no gradient. Only the tensors with the largest mean absolute gradient move. A round that
does not lower the accuracy on the (synthetic) images is rolled back, and noise and number of tensors go up.

Kravets and Namboodiri, WACV 2025 (arXiv 2407.07485). Settings without a preset are the published ones; what they leave
open and what we do otherwise is in docs/methods/lip.md.
Use when only a name is at hand. Weak when the other classes must not move: nothing here holds them.
Cost: a round is ``samples`` forward passes and one forward and backward pass over the images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass as plain_dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from efface.encoding import encode_classes
from efface.errors import NotFiniteError
from efface.functional.lipschitz import joint_lipschitz_loss
from efface.methods.base import (
    Batch,
    Hooks,
    Verdict,
    fit_,
    is_resnet,
    largest_gradients,
    noisy_outputs,
    only_trainable,
    share_taken_for,
)
from efface.types import (
    Checkpoint,
    DualEncoder,
    ForgetData,
    LabelledImages,
    Labels,
    Needs,
    Reporter,
    Scalar,
    State,
    Step,
    Trace,
    Unkept,
    WeightGroup,
    Within,
)

NOISE = (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
SCHEDULES = {
    "resnet": {"image": (5, 7, 10, 13, 15, 20, 25), "text": (5, 7, 12, 18, 25, 30, 35)},
    "vit": {"image": (25, 27, 30, 33, 35, 40, 45), "text": (25, 27, 30, 33, 35, 40, 45)},
}
"""How many tensors move at each noise level: the published schedules for RN50 and ViT-B/16."""


Level = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Counts = tuple[Annotated[int, Field(ge=0)], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class Lip:
    """Joint Lipschitz smoothing of image and text embeddings on a few tensors of both towers."""

    images: int = Field(default=64, ge=1, description="images of the class to work on")
    noise: tuple[Level, ...] = Field(
        default=NOISE, min_length=1, description="levels of noise to go through, in units of the normalised input"
    )
    samples: int = Field(default=25, ge=1, description="noisy copies of an image in each step")
    image_tensors: Counts = Field(
        default=None, description="image tensors that move at each noise level; none: as published for the architecture"
    )
    text_tensors: Counts = Field(default=None, description="the same for the text tower")
    convolutions: Literal["frozen", "free"] = Field(
        default="frozen", description="in a ResNet, published: frozen, only the attention pool's projections move"
    )
    terms: Literal["joint", "image", "text"] = Field(
        default="joint", description="of the loss: both, as published, or as in its ablation those of one tower alone"
    )
    prompt: str = Field(default="A picture of {}", pattern=r"^[^{}]*\{\}[^{}]*$", description="text trained on")
    learning_rate: float = Field(default=5e-5, gt=0, description="of Adam")
    learning_rate_growth: float = Field(
        default=1.0,
        ge=1,
        description="short of the goal when all is used up, go on with the rate times this",
    )
    max_learning_rate: float = Field(default=1e-2, gt=0, description="where that ends")
    betas: tuple[Rate, Rate] = Field(default=(0.9, 0.98), description="of Adam")
    eps: float = Field(default=1e-6, gt=0, description="of Adam")
    weight_decay: float = Field(default=0.2, ge=0, description="coupled: added to the gradient, not to the weights")
    batch_size: int = Field(default=64, ge=1, description="images a batch")
    accumulate: int = Field(default=5, ge=1, description="batches a step, at most")
    max_rounds: int = Field(default=30, ge=1, description="passes over the images, at most, for one learning rate")
    stop_accuracy: float = Field(default=0.1, ge=0, lt=1, description="done when the images' accuracy is this or less")
    rounds: Literal["iterative", "fixed"] = Field(
        default="iterative",
        description="published: judged one by one; fixed: all kept, max_rounds of them at the first noise level",
    )
    keep_rejected: bool = Field(default=True, description="when no round helped, end on the last one all the same")

    summary: ClassVar[str] = "synthetic images and joint Lipschitz smoothing (Kravets and Namboodiri, WACV 2025)"

    def __post_init__(self) -> None:
        for name, counts in (("image_tensors", self.image_tensors), ("text_tensors", self.text_tensors)):
            if counts is not None and len(counts) != len(self.noise):
                raise ValueError(f"{name} has {len(counts)} entries for {len(self.noise)} noise levels: give one each")
        if None in (self.image_tensors, self.text_tensors) and self.noise != NOISE:
            raise ValueError("other noise levels than the published need image_tensors and text_tensors too")

    @property
    def needs(self) -> Needs:
        """Images of the class, and its name in the training prompt."""
        return Needs(forget_images=self.images, prompt=self.prompt)

    def edit_(
        self,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        *,
        rng: torch.Generator,
        reporter: Reporter,
        checkpoint: Checkpoint | None = None,
    ) -> Trace:
        """Runs the procedure at the learning rate, and at larger ones while no round helps and settings allow it."""
        # Of synthetic images all are taken for the class, of a user's own perhaps not: a round is to lower that.
        classes = encode_classes(reference, data.class_tokens)
        start = share_taken_for(data.targets, reference, classes, _images(data), self.batch_size)
        if start <= self.stop_accuracy:
            reason = f"the accuracy on the class's images was {start:.1%} already: the weights are as they were"
            return Trace((), reached=True, reason=reason)
        noted = checkpoint or Unkept()
        known = noted.take() or {"steps": [], "tried": 0, "run": {"best": start}, "part": None}
        image, text = self.candidates(model)
        steps, rates = list(known["steps"]), list(self.learning_rates())
        with only_trainable(model.module, image + text):
            for tried, rate in list(enumerate(rates))[known["tried"] :]:
                run = _Procedure(self, model, data, rng, rate, start, is_last=rate == rates[-1], **known["run"])
                whole = partial(run.state, tuple(steps), tried)
                steps += run.fit_(image, text, reporter, Within(noted, known["part"], whole))
                best = run.best
                known = {"run": {"best": best}, "part": None}
                if best <= self.stop_accuracy:
                    break
        return Trace(tuple(steps), reached=best <= self.stop_accuracy, reason=self._reason(start, best, rate))

    def candidates(self, model: DualEncoder) -> tuple[list[WeightGroup], list[WeightGroup]]:
        """The tensors of each tower that may move.

        Of the text tower those of its blocks alone. Of a ResNet the projections of the attention pool, unless
        ``convolutions`` are free; of a transformer everything. BatchNorm never.
        """
        image = [g for g in model.weights("image") if not g.is_batch_norm]
        if is_resnet(model) and self.convolutions == "frozen":
            image = [g for g in image if g.part == "pool"]
        return image, [g for g in model.weights("text") if g.part == "blocks"]

    def schedule(self, model: DualEncoder) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """How many image and text tensors move at each noise level."""
        published = SCHEDULES["resnet" if is_resnet(model) else "vit"]
        return self.image_tensors or published["image"], self.text_tensors or published["text"]

    def learning_rates(self) -> Iterator[float]:
        """The learning rates to try, in order."""
        yield (rate := self.learning_rate)
        while self.learning_rate_growth > 1 and rate * self.learning_rate_growth <= self.max_learning_rate:
            rate *= self.learning_rate_growth
            yield rate

    def _reason(self, start: float, best: float, rate: float) -> str:
        if best == start:
            end = "the last rejected round was kept" if self.keep_rejected else "the weights are as they were"
            return f"nothing was forgotten: no round helped, up to a learning rate of {rate:.2g}; {end}"
        if best > self.stop_accuracy:
            return f"the accuracy on the class's images fell to {best:.1%} only, not to {self.stop_accuracy:.1%}"
        return f"the accuracy on the class's images fell to {best:.1%} at a learning rate of {rate:.2g}"


# Our settings of the published loss, and the published ones.
LIPSCHITZ, PAPER = Lip(learning_rate_growth=10**0.5, stop_accuracy=0.0, keep_rejected=False), Lip()


def _images(data: ForgetData) -> LabelledImages:
    if data.forget is None or data.prompt_tokens is None:
        raise ValueError("LIP needs images of the class and the tokens of its prompt: see its needs")
    return data.forget


@plain_dataclass(slots=True)
class _Procedure:
    """One run at one learning rate: the state that the loop's hooks share."""

    settings: Lip
    model: DualEncoder
    data: ForgetData
    rng: torch.Generator
    rate: float
    start: float
    is_last: bool
    best: float
    level: int = 0
    accuracy: float = 1.0
    is_finite: bool = True
    moved: tuple[str, ...] = ()

    def fit_(
        self, image: list[WeightGroup], text: list[WeightGroup], reporter: Reporter, checkpoint: Checkpoint
    ) -> list[Step]:
        s, images = self.settings, _images(self.data)
        weights = [p for g in image + text for p in g.parameters]
        optimizer = torch.optim.Adam(weights, lr=self.rate, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay)
        with reporter.stage(f"forgetting, learning rate {self.rate:.2g}, steps", None) as advance:
            return fit_(
                optimizer,
                lambda: images.batches(s.batch_size, rng=self.rng),
                self.loss,
                Hooks(
                    after_backward=lambda: self.mask(image, text),
                    after_step=lambda: self.measure(advance),
                    end_of_round=self.judge,
                ),
                rounds=s.max_rounds,
                accumulate=min(-(-len(images) // s.batch_size), s.accumulate),
                checkpoint=checkpoint,
            )

    def state(self, steps: tuple[Step, ...], tried: int) -> State:
        """What it takes to go on at this rate: the steps of those before, their number, and how far this one is."""
        return {"steps": steps, "tried": tried, "run": {"best": self.best, "level": self.level}}

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        device = self.model.device
        images, tokens = batch[0].to(device), self.data.prompt_tokens
        level, samples = self.settings.noise[self.level], self.settings.samples
        noisy, distance = noisy_outputs(self.model.embed_image, images, level, samples, rng=self.rng)
        image = text = None
        if self.settings.terms != "text":
            image = self.model.embed_image(images)
        if self.settings.terms != "image":
            texts = self.model.embed_text(tokens.to(device))  # type: ignore[union-attr]
            text = texts[0] if len(texts) == 1 else texts[self.own_text(batch[1]).to(device)]
        return {"lipschitz": joint_lipschitz_loss(image, text, noisy, distance)}

    def own_text(self, labels: Labels) -> Labels:
        """Of each image, which of the prompts is its own."""
        return (labels.cpu()[:, None] == torch.tensor(self.data.targets)).int().argmax(dim=1)

    def mask(self, image: list[WeightGroup], text: list[WeightGroup]) -> None:
        of_image, of_text = self.settings.schedule(self.model)
        chosen = largest_gradients(image, of_image[self.level]) + largest_gradients(text, of_text[self.level])
        self.moved = tuple(group.name for group in chosen)
        for group in image + text:
            if group.name not in self.moved:
                for parameter in group.parameters:
                    parameter.grad = None

    def measure(self, advance: Callable[[int], None]) -> bool:
        advance(1)
        images, size = _images(self.data), self.settings.batch_size
        try:
            classes = encode_classes(self.model, self.data.class_tokens)
            self.accuracy = share_taken_for(self.data.targets, self.model, classes, images, size)
        except NotFiniteError:
            # Such a model answers with any class: the round ends here and is rejected, whatever it would score.
            self.is_finite, self.accuracy = False, 1.0
            return True
        self.is_finite = True
        return self.accuracy <= self.settings.stop_accuracy and self.settings.rounds == "iterative"

    def judge(self, number: int) -> Verdict:
        s = self.settings
        measured = {"noise": s.noise[self.level], "learning_rate": self.rate, "accuracy": self.accuracy}
        notes: Step = {**measured, "finite": self.is_finite, "tensors": list(self.moved)}
        if s.rounds == "fixed":
            self.best = self.accuracy if self.is_finite else self.best
            return Verdict(keep=self.is_finite, stop=not self.is_finite, notes=notes)
        improved = self.accuracy < self.best
        if improved:
            self.best = self.accuracy
        else:
            self.level += 1
        out_of_levels = self.level == len(s.noise)
        ends = out_of_levels or number == s.max_rounds - 1
        rejected = ends and self.best == self.start and self.is_last and s.keep_rejected and self.is_finite
        stop = out_of_levels or self.accuracy <= s.stop_accuracy
        return Verdict(keep=improved or rejected, stop=stop, notes=notes)
