"""A soft prompt: vectors in the place of the name's tokens, trained until the text finds the attacker's images.

Both towers stay as they are. A prompt of the request's first template is run through the text tower, but the vectors
that its token table gives to the name are replaced by others, which Adam changes until images of the class are nearest
to that text and images of other classes are not. They begin at the mean of the table, for the class as for the control,
so that no name helps. What comes back was there in the image features, and some input of the text tower reaches it.

After textual inversion: Gal et al. 2023 (arXiv 2208.01618), there of an image generator. It needs a text tower that
looks its tokens up in a table, as those of open_clip and transformers do. From four images a prompt can find classes
that a model never learned, and two trainings without a class differ widely in that: only prompts from one are judged.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import Asked, NotTried, Role, Row, Trial
from efface.attacks.soft_tokens import features_of, mean_token, place_in
from efface.functional.similarity import accuracy
from efface.types import ClassFeatures, Features, Labels, Reporter, Scalar

Places = Int[Tensor, " _"]
"""Of images among others."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid", "allow_inf_nan": False})
class SoftPrompt:
    """Vectors in the place of the name's tokens, fitted to a few images."""

    shots: tuple[int, ...] = Field(default=(1, 4), min_length=1, description="images of the class, a prompt each")
    judged: int = Field(default=1, ge=0, description="with more images it is measured, and not judged")
    draws: int = Field(default=2, ge=1, description="how often these are drawn")
    retain_images: int = Field(default=512, ge=1, description="images of other classes")
    vectors: int = Field(default=4, ge=1, description="at least so many, if the prompt has room for them")
    steps: int = Field(default=80, ge=1, description="of Adam")
    learning_rate: float = Field(default=0.1, gt=0, description="of Adam, in times of the size of a token's numbers")

    name: ClassVar[str] = "soft_prompt"
    summary: ClassVar[str] = "vectors in the place of the name's tokens, fitted to a few images"
    tells: ClassVar[str] = "image features hold the class, and some input of the text tower finds it"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Fits prompts to the same images for every model.

        Raises:
            NotTried: If the attacker lacks images, or a text tower looks its tokens up in no table.
        """
        labels, roles = asked.labels("images"), dict(asked.roles)
        others = torch.nonzero(torch.isin(labels, torch.tensor(asked.others, dtype=torch.int64)))[:, 0]
        if not len(others):
            raise NotTried("it needs images of other classes", hint="give some with --images")
        others = _some(others, self.retain_images, rng)
        own = {role: self.sets(asked, labels, row, rng) for role, row in roles.items()}
        rows: list[Row] = []
        with reporter.stage("soft prompts, steps", len(asked.models) * len(roles) * self.steps) as advance:
            for called in asked.models:
                for role in roles:
                    rows += self.rows(Task(asked, called, role, own[role], others), advance)
        return tuple(rows)

    def sets(self, asked: Asked, labels: Labels, label: int, rng: torch.Generator) -> tuple[Places, ...]:
        """The images of the class that the prompts are fitted to: all draws of the first number, then of the next."""
        mine = torch.nonzero(labels == label)[:, 0]
        if not len(mine):
            raise NotTried(f"it needs images of {asked.among[label]!r} too", hint="give some with --images")
        return tuple(_some(mine, k, rng) for k in self.shots for _ in range(self.draws))

    def rows(self, task: "Task", advance: Callable[[int], None]) -> Iterator[Row]:
        """Fits all prompts of a model and a role at once, and says what each number of images brought back."""
        place = place_in(task.clip, task.asked.templates[0], task.asked.among[task.label], self.vectors)
        mean, size = mean_token(task.clip.encoder, place)
        vectors = mean.expand(len(task.own), place.count, -1).clone().requires_grad_()
        optimizer = torch.optim.Adam([vectors], lr=self.learning_rate * size)
        with torch.enable_grad():
            for _ in range(self.steps):
                loss = task.misfit(features_of(task.clip.encoder, place, vectors))
                # The towers' own weights get no gradient.
                (vectors.grad,) = torch.autograd.grad(loss, [vectors])
                optimizer.step()
                advance(1)
        with torch.no_grad():
            measured = task.measured(features_of(task.clip.encoder, place, vectors))
        _, before = task.right(task.classes)
        for index, k in enumerate(self.shots):
            of_draws = measured[index * self.draws : (index + 1) * self.draws]
            recalls, others = zip(*of_draws, strict=True)
            images, change = len(task.own[index * self.draws]), round(math.fsum(others) / self.draws - before, 4)
            cost = {"images": images, "steps": self.steps, "vectors": place.count, "change of other classes": change}
            trial = Trial(self.name, f"k = {k}", "features" if k <= self.judged else "measure", cost, task.n_others)
            yield trial.over_draws(task.called, task.role, recalls, task.n)


class Task:
    """A class in a model, with the images that prompts for it are fitted to."""

    def __init__(self, asked: Asked, called: str, role: Role, own: Sequence[Places], others: Places) -> None:
        self.asked, self.called, self.role = asked, called, role
        self.clip, self.label, self.own = asked.models[called], dict(asked.roles)[role], own
        device = self.clip.encoder.device
        self.classes, self.scale = asked.texts(called).to(device), self.clip.encoder.logit_scale.detach()
        seen, truth = asked.features(called, "images", "final").to(device), asked.labels("images").to(device)
        self.images, (self.others, self.other_labels) = [seen[rows] for rows in own], (seen[others], truth[others])
        self.tested = asked.features(called, "held_out", "final").to(device)
        self.truth = asked.labels("held_out").to(device)

    @property
    def n(self) -> int:
        """How many held-out images there are of the class."""
        return int((self.truth == self.label).sum())

    @property
    def n_others(self) -> int:
        """From how many other classes the images that prompts are fitted to tell the class."""
        return len(torch.unique(self.other_labels))

    def misfit(self, texts: Features) -> Scalar:
        """The cross-entropy of the images of each prompt and of the others, in equal parts, summed over prompts."""
        terms = []
        for text, images in zip(texts, self.images, strict=True):
            classes = self.with_text(text)
            labels = torch.full((len(images),), self.label, device=images.device)
            own = F.cross_entropy(self.scale * images @ classes.T, labels)
            terms.append(own + F.cross_entropy(self.scale * self.others @ classes.T, self.other_labels))
        return torch.stack(terms).sum()

    def measured(self, texts: Features) -> list[tuple[float, float]]:
        """Of each prompt: the share of right answers on the class's held-out images, and on those of others."""
        return [self.right(self.with_text(text)) for text in texts]

    def with_text(self, text: Float[Tensor, " dim"]) -> ClassFeatures:
        """The texts of all classes, with another one in the place of the class's own."""
        row = torch.tensor([self.label], device=text.device)
        return self.classes.index_copy(0, row, text[None])

    def right(self, classes: ClassFeatures) -> tuple[float, float]:
        """The share of right answers on images of the class, and of the others."""
        answered, is_own = (self.tested @ classes.T).argmax(dim=1), self.truth == self.label
        gone = [row for row, name in enumerate(self.asked.among) if name in self.asked.beside]
        stays = ~is_own & ~torch.isin(self.truth, torch.tensor(gone, dtype=torch.int64, device=self.truth.device))
        return accuracy(answered[is_own], self.truth[is_own]), accuracy(answered[stays], self.truth[stays])


def _some(rows: Places, count: int, rng: torch.Generator) -> Places:
    return rows[torch.randperm(len(rows), generator=rng)[:count]]
