"""Unnaming: a word of the class's name comes to say nothing; every text without that word stays, bit for bit.

The text tower's part of :class:`~efface.methods.reassign.Reassign`. Of each text of the class one token is taken that
the fewest other classes have in theirs, and its vector in the table of tokens is all that moves. It is taught so that a
text of the class becomes the mean of what the other classes' texts are in the same prompt, scaled to unit length. Other
texts with that token, where there are any, are pinned to the reference. Where that token does not carry the name (*oon*
of *baboon*) all those are taken that no other class has. The loss is the squared distance to that. It is
no forgetting by itself: an image of the class is what it was, and another word finds it. Beside an edited image tower
it takes the class's own name off what is left. Where few classes stay it is left out: their mean is no text without a
name, it is theirs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efface.functional.handover import distance_loss
from efface.lookups import looked_up
from efface.methods import words as naming
from efface.methods.base import Batch, only_trainable
from efface.methods.course import Course
from efface.methods.words import TEXTS, Taught, table_of, texts_of
from efface.types import DualEncoder, Features, ForgetData, Reporter, Scalar, Step, Tokens, Unkept

ROUND = 20
STUCK = 0.1
"""Where a text stays further off than this (usual is 0.01 to 0.05), more of its words are taught."""
OF_CLASS, OF_OTHERS = 16, 32
"""Texts a step."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of the table of tokens, which can be trained in its place.

    Attributes:
        model: whose text tower looks them up.
        words: the tokens.
        values: a vector each.
    """

    model: DualEncoder
    words: tuple[int, ...]
    values: nn.Parameter

    def features(self, tokens: Tokens) -> Features:
        """Text features of unit length, with these vectors for these tokens; gradients reach the vectors."""

        def put(found: Tensor) -> Tensor:
            for word, value in zip(self.words, self.values, strict=True):
                found = torch.where((tokens == word)[..., None], value.to(found.dtype), found)
            return found

        with looked_up(self.model, tokens, put):
            return self.model.encode_text(tokens)


@dataclass(frozen=True, slots=True)
class Unnamed:
    """What became of the texts.

    Attributes:
        steps: one a round; none where nothing was trained.
        reason: why nothing was, though it was asked for; else empty.
        words: the tokens whose vectors were taught.
    """

    steps: tuple[Step, ...] = ()
    reason: str = ""
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unnaming:
    """How long and how fast the words of the class's name are taught to say nothing.

    Attributes:
        steps: of AdamW.
        learning_rate: of AdamW in the first step; a cosine takes it to 0.
    """

    steps: int
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
        """Teaches the vectors, if enough classes stay and the name has a word of its own.

        A step's ``words`` are the numbers of the tokens whose vectors are taught. Its ``text_left`` is the mean squared
        distance of the targets' texts from what they are taught, for the word whose texts are farthest from it, and
        ``text_moved`` that of other texts with the same words from where they were, 0 where there are none; both in
        [0, 4].
        """
        if not self.steps:
            return Unnamed()
        found = texts_of(reference, data, rng=rng)
        if found is None:
            return Unnamed(reason=f"fewer than {naming.FEWEST} classes stay")
        table = table_of(model, found.tokens[:1])
        if table is None:
            return Unnamed(reason="the text tower looks its tokens up in no table")
        if not found.words:
            return Unnamed(reason="no word of them is the class's own")
        values, steps = self._fit(model, table, found, rng, reporter)
        left = _left(found, Vectors(model, found.words, values))
        # A name without a word of its own is no matter of more words.
        stuck = [word for word, far in left.items() if far > STUCK and word is not None]
        if stuck:
            wider = texts_of(reference, data, rng=rng, every=stuck)
            if wider is not None and len(wider.words) > len(found.words):
                found = wider
                values, more = self._fit(model, table, found, rng, reporter)
                steps += more
        with torch.no_grad():
            table.weight[list(found.words)] = values.to(table.weight.dtype)
        return Unnamed(tuple(steps), words=found.words)

    def _fit(
        self, model: DualEncoder, table: nn.Embedding, found: Taught, rng: torch.Generator, reporter: Reporter
    ) -> tuple[nn.Parameter, list[Step]]:
        """The vectors of the words after training, and what each round did; the table stays as it is."""
        values = nn.Parameter(table.weight.detach()[list(found.words)].float())
        course = Course("unnaming, steps", self.steps, ROUND, self.learning_rate, falls=True, rng=rng)
        run = _Run(found, Vectors(model, found.words, values), course)
        with only_trainable(model.module, ()):
            steps = course.fit_([values], run.batch, run.loss, run.judge, reporter, Unkept())
        told: Step = {"tower": "text", "words": [str(word) for word in found.words]}
        return values, [{**told, **step} for step in steps]


def undo_(model: DualEncoder, reference: DualEncoder, data: ForgetData, words: tuple[int, ...]) -> None:
    """Gives words the reference's vectors again."""
    tokens = data.class_tokens[0, :1].to(model.device)
    tables = table_of(model, tokens), table_of(reference, tokens)
    if tables[0] is not None and tables[1] is not None:
        with torch.no_grad():
            tables[0].weight[list(words)] = tables[1].weight[list(words)]


@dataclass(frozen=True, slots=True)
class _Run:
    """What the loop's hooks share."""

    taught: Taught
    vectors: Vectors
    course: Course

    def batch(self) -> Batch:
        """The texts of a step: the targets' first."""
        ends = (0, self.taught.targets, len(self.taught.tokens))
        drawn = [self._draw(*span) for span in ((*ends[:2], OF_CLASS), (*ends[1:], OF_OTHERS))]
        rows = torch.cat(drawn)
        return self.taught.tokens[rows], rows

    def _draw(self, first: int, end: int, count: int) -> Tensor:
        """All of the rows where they are few, else some, with replacement."""
        if end - first <= count:
            return torch.arange(first, end, device=self.course.rng.device)
        return self.course.draw(first, end, count)

    def loss(self, batch: Batch) -> dict[str, Scalar]:
        tokens, rows = batch
        features, is_own, aims = self.vectors.features(tokens), rows < self.taught.targets, self.taught.wanted[rows]
        terms = {"texts of the class": distance_loss(features[is_own], aims[is_own])}
        if not is_own.all():
            terms["other texts"] = distance_loss(features[~is_own], aims[~is_own])
        return terms

    @torch.no_grad()
    def judge(self) -> tuple[bool, Step]:
        others = _apart(self.taught, self.vectors, slice(self.taught.targets, None))
        left = max(_left(self.taught, self.vectors).values())
        return False, {"text_left": left, "text_moved": others.mean().item() if len(others) else 0.0}


@torch.no_grad()
def _left(taught: Taught, vectors: Vectors) -> dict[int | None, float]:
    """How far the targets' texts are from what they are taught, a mean squared distance for those with each word.

    One that is stuck is not to hide behind ten that are not. Texts with none of the words are under None.
    """
    own = taught.tokens[: taught.targets]
    apart = _apart(taught, vectors, slice(taught.targets))
    has: dict[int | None, Tensor] = {word: (own == word).any(dim=1) for word in taught.words}
    has[None] = ~torch.stack([*has.values()]).any(dim=0)
    return {word: apart[mask].mean().item() for word, mask in has.items() if mask.any()}


def _apart(taught: Taught, vectors: Vectors, part: slice) -> Tensor:
    """Squared distances of texts from what they are taught."""
    tokens, wanted = taught.tokens[part], taught.wanted[part]
    now = [vectors.features(some) for some in torch.split(tokens, TEXTS)] if len(tokens) else [wanted]
    return (torch.cat(now) - wanted).square().sum(dim=1)
