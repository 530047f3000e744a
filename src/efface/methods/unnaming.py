"""Unnaming: the texts of a class say what their prompts say of no class in particular; all other texts stay.

The text tower's part of :class:`~efface.methods.reassign.Reassign`. A text of the class is taught the mean of what the
other classes' texts are in the same prompt, scaled to unit length; those texts themselves are pinned to the reference.
The loss is the squared distance to that. It is no forgetting by itself: an image of the class is what it was, and
another text finds it. Beside an edited image tower it takes the class's own name off what is left. Where few classes
stay it is left out: their mean is no text without a name, it is theirs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.cut import CutText
from efface.errors import InputError
from efface.functional.handover import distance_loss
from efface.functional.nameless import nameless
from efface.methods.base import Batch, Hooks, Verdict, fit_, only_trainable
from efface.types import DualEncoder, Features, ForgetData, Reporter, Scalar, Step, Tokens

ROUND = 20
CARRIERS = (
    "{}",
    "a picture of the {}.",
    "a drawing of a {}.",
    "an image of {}.",
    "a close-up of the {}.",
    "many {}.",
    "this is a {}.",
)
"""Prompts beside the request's, so that it is the name that loses its meaning and not one sentence."""
PROMPTS, TEXTS, AVERAGED = 16, 1024, 512
"""At most so many prompts of a request, texts of other classes that are pinned, and such whose mean is taught."""
FEWEST = 16
"""Of so many classes at least that mean is taken; fewer texts stand for too little of what is to stay, besides."""
OF_CLASS, OF_GUARD = 16, 96
"""Texts a step."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Texts, and what they are taught.

    Attributes:
        tokens: of the targets' texts, then of texts of other classes.
        wanted: a unit vector each; what the others are already.
        targets: how many texts are the targets'.
    """

    tokens: Tokens
    wanted: Features
    targets: int


@torch.no_grad()
def texts_of(model: DualEncoder, data: ForgetData, *, rng: torch.Generator) -> Taught | None:
    """The targets' texts, and random ones of other classes; None where fewer than :data:`FEWEST` classes stay.

    A text that is the same in several prompts, as a phrase is, counts once, and is taught the mean of what it would be.

    Args:
        model: the untouched one.
        data: the request.
        rng: draws prompts and texts where there are many.
    """
    given = (data.class_tokens, data.more_tokens)
    tokens = torch.cat([some for some in given if some is not None], dim=1).to(model.device)
    rows = torch.tensor(data.targets, device=model.device)
    stay = torch.arange(len(tokens), device=model.device)
    stay = stay[~torch.isin(stay, rows)]
    if len(stay) < FEWEST:
        return None
    tokens = tokens[:, torch.randperm(tokens.shape[1], generator=rng, device=rng.device)[:PROMPTS]]
    prompts = tokens.shape[1]
    others = tokens[stay]
    some = torch.randperm(len(stay), generator=rng, device=rng.device)[: max(AVERAGED // prompts, 1)]
    wanted = nameless(_encode(model, others[some])).expand(len(rows), -1, -1).flatten(0, 1)
    # Names differ more than prompts: of many texts few names in all prompts would be a poor sample.
    drawn = torch.randperm(len(stay) * prompts, generator=rng, device=rng.device)[:TEXTS]
    kept = others.flatten(0, 1)[drawn]
    own, one_of = torch.unique(tokens[rows].flatten(0, 1), dim=0, return_inverse=True)
    wanted = F.normalize(torch.zeros_like(wanted[: len(own)]).index_add(0, one_of, wanted), dim=-1)
    return Taught(torch.cat([own, kept]), torch.cat([wanted, _encode(model, kept[:, None])[:, 0]]), len(own))


def _encode(model: DualEncoder, tokens: Tensor) -> Tensor:
    texts, prompts, context = tokens.shape
    parts = torch.split(tokens.reshape(-1, context), TEXTS)
    return torch.cat([model.encode_text(part) for part in parts]).view(texts, prompts, -1)


@dataclass(frozen=True, slots=True)
class Unnamed:
    """What became of the texts.

    Attributes:
        steps: one a round; none where nothing was trained.
        reason: why nothing was, though it was asked for; else empty.
    """

    steps: tuple[Step, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unnaming:
    """How long, how fast and how deep the text tower is taught.

    Attributes:
        steps: of AdamW.
        blocks: last blocks of the text tower that move, and what follows them.
        learning_rate: of AdamW in the first step; a cosine takes it to 0.
    """

    steps: int
    blocks: int
    learning_rate: float

    def edit_(
        self,
        model: DualEncoder,
        reference: DualEncoder,
        data: ForgetData,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Unnamed:
        """Teaches the text tower, if its parts are known and enough classes stay.

        A step's ``text_left`` is the mean squared distance of the targets' texts from what they are taught, and
        ``text_moved`` that of the other texts from where they were; both in [0, 4].
        """
        tower = CutText(model, self.blocks)
        found = self._found(tower, reference, data, rng)
        if isinstance(found, Unnamed):
            return found
        tokens, aims, targets = found.tokens, found.wanted, found.targets
        activations = tower.activations(tokens)

        def slower(step: int) -> float:
            return (1 + math.cos(math.pi * step / self.steps)) / 2

        def batches(number: int) -> Iterator[Batch]:
            for _ in range(min(ROUND, self.steps - number * ROUND)):
                drawn = [_draw(0, targets, OF_CLASS, rng), _draw(targets, len(tokens), OF_GUARD, rng)]
                rows = torch.cat(drawn)
                yield activations[rows], rows
                advance(1)

        def loss(batch: Batch) -> dict[str, Scalar]:
            started, rows = batch
            features, is_class = tower.features(started, tokens[rows]), rows < targets
            return {
                "texts of the class": distance_loss(features[is_class], aims[rows[is_class]]),
                "other texts": distance_loss(features[~is_class], aims[rows[~is_class]]),
            }

        def judge(_number: int) -> Verdict:
            with torch.no_grad():
                parts = (torch.split(rows, TEXTS) for rows in (activations, tokens))
                now = torch.cat([tower.features(started, part) for started, part in zip(*parts, strict=True)])
            parts_ = (slice(0, targets), slice(targets, None))
            left, moved = (distance_loss(now[part], aims[part]).item() for part in parts_)
            return Verdict(keep=True, stop=False, notes={"text_left": left, "text_moved": moved})

        rounds = iter(range(-(-self.steps // ROUND)))
        with (
            only_trainable(model.module, tower.groups()) as weights,
            reporter.stage("unnaming, steps", self.steps) as advance,
        ):
            optimizer = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=0.0)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, slower)

            def after_step() -> bool:
                schedule.step()
                return False

            steps = fit_(
                optimizer,
                lambda: batches(next(rounds)),
                loss,
                Hooks(end_of_round=judge, after_step=after_step),
                rounds=-(-self.steps // ROUND),
            )
        return Unnamed(tuple({"tower": "text", **step} for step in steps))

    def _found(
        self, tower: CutText, reference: DualEncoder, data: ForgetData, rng: torch.Generator
    ) -> Taught | Unnamed:
        """What is taught, or why nothing is."""
        if not self.steps:
            return Unnamed()
        try:
            tower.groups()
        except InputError as error:
            return Unnamed(reason=str(error))
        return texts_of(reference, data, rng=rng) or Unnamed(reason=f"fewer than {FEWEST} classes stay")

    def undo_(self, model: DualEncoder, reference: DualEncoder) -> None:
        """Gives what was taught the reference's weights again."""
        pairs = zip(CutText(model, self.blocks).groups(), CutText(reference, self.blocks).groups(), strict=True)
        with torch.no_grad():
            for group, before in pairs:
                for weight, value in zip(group.parameters, before.parameters, strict=True):
                    weight.copy_(value)


def _draw(first: int, end: int, count: int, rng: torch.Generator) -> Tensor:
    """All of the rows where they are few, else some, with replacement."""
    if end - first <= count:
        return torch.arange(first, end, device=rng.device)
    return torch.randint(first, end, (count,), generator=rng, device=rng.device)
