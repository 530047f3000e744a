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
import torch.nn.functional as F
from torch import Tensor, nn

from efface.functional.handover import distance_loss
from efface.functional.nameless import nameless
from efface.lookups import looked_up
from efface.methods.base import Batch, only_trainable
from efface.methods.course import Course
from efface.types import DualEncoder, Features, ForgetData, Reporter, Scalar, Step, Tokens, Unkept

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
COMMON = 0.5
"""A token that more of the other classes have in their texts is no word of a name: it is of the prompts."""
FIRST = 0.015
"""Nor are the first of a table, so large a part of it: letters, and *and*, *with* and their like in a large one."""
STUCK = 0.1
"""Where a text stays further off than this (usual is 0.01 to 0.05), more of its words are taught."""
OF_CLASS, OF_OTHERS = 16, 32
"""Texts a step."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Texts, and what they are taught.

    Attributes:
        tokens: of the targets' texts, then of other texts that share a word with them.
        wanted: a unit vector each; what the others are already.
        targets: how many texts are the targets'.
        words: the tokens whose vectors are taught, each in one of the targets' texts at least.
    """

    tokens: Tokens
    wanted: Features
    targets: int
    words: tuple[int, ...]


@torch.no_grad()
def texts_of(model: DualEncoder, data: ForgetData, *, rng: torch.Generator, every: bool = False) -> Taught | None:
    """The targets' texts, and others with the same words; None where fewer than :data:`FEWEST` classes stay.

    A text that is the same in several prompts, as a phrase is, counts once, and is taught the mean of what it would be.

    Args:
        model: the untouched one.
        data: the request.
        rng: draws prompts and texts where there are many.
        every: that of :func:`words_of`.
    """
    given = (data.class_tokens, data.more_tokens)
    tokens = torch.cat([some for some in given if some is not None], dim=1).to(model.device)
    rows = torch.tensor(data.targets, device=model.device)
    stay = torch.arange(len(tokens), device=model.device)
    stay = stay[~torch.isin(stay, rows)]
    if len(stay) < FEWEST:
        return None
    tokens = tokens[:, torch.randperm(tokens.shape[1], generator=rng, device=rng.device)[:PROMPTS]]
    others = tokens[stay]
    some = torch.randperm(len(stay), generator=rng, device=rng.device)[: max(AVERAGED // tokens.shape[1], 1)]
    wanted = nameless(_encode(model, others[some])).expand(len(rows), -1, -1).flatten(0, 1)
    own, one_of = torch.unique(tokens[rows].flatten(0, 1), dim=0, return_inverse=True)
    wanted = F.normalize(torch.zeros_like(wanted[: len(own)]).index_add(0, one_of, wanted), dim=-1)
    table = table_of(model, own[:1])
    first = 0 if table is None else int(FIRST * table.num_embeddings)
    words = () if table is None else words_of(own, others, first=first, every=every)
    kept = others.flatten(0, 1)
    kept = kept[torch.isin(kept, torch.tensor(words, device=kept.device)).any(dim=1)]
    kept = kept[torch.randperm(len(kept), generator=rng, device=rng.device)[:TEXTS]]
    if not len(kept):
        return Taught(own, wanted, len(own), words)
    return Taught(torch.cat([own, kept]), torch.cat([wanted, _encode(model, kept[:, None])[:, 0]]), len(own), words)


def words_of(own: Tokens, others: Tensor, *, first: int = 0, every: bool = False) -> tuple[int, ...]:
    """Of each text the token that the fewest other classes have in theirs; of equals that with the largest number.

    A tokenizer numbers letters first, then what it met often. A text whose other tokens most classes have has no word
    of its own.

    Args:
        own: texts.
        others: the texts of other classes, by class and prompt.
        first: tokens with smaller numbers are taken only where there are no others.
        every: all tokens that no other class has are taken, beside that one.
    """
    counts: dict[int, int] = {}
    for of_class in others:
        for token in torch.unique(of_class).tolist():
            counts[token] = counts.get(token, 0) + 1
    found = []
    for text in own:
        ids = torch.unique(text).tolist()
        free = [token for token in ids if counts.get(token, 0) <= COMMON * len(others)]
        free = [token for token in free if token >= first] or free
        free.sort(key=lambda token: (counts.get(token, 0), -token))
        found += free[:1] + [token for token in free[1:] if every and token not in counts]
    return tuple(dict.fromkeys(found))


def _encode(model: DualEncoder, tokens: Tensor) -> Tensor:
    texts, prompts, context = tokens.shape
    parts = torch.split(tokens.reshape(-1, context), TEXTS)
    return torch.cat([model.encode_text(part) for part in parts]).view(texts, prompts, -1)


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
        distance of the targets' texts from what they are taught, of the texts with that word whose are farthest, and
        ``text_moved`` that of other texts with the same words from where they were, 0 where there are none; both in
        [0, 4].
        """
        if not self.steps:
            return Unnamed()
        found = texts_of(reference, data, rng=rng)
        if found is None:
            return Unnamed(reason=f"fewer than {FEWEST} classes stay")
        table = table_of(model, found.tokens[:1])
        if table is None:
            return Unnamed(reason="the text tower looks its tokens up in no table")
        if not found.words:
            return Unnamed(reason="no word of them is the class's own")
        values, steps = self._fit(model, table, found, rng, reporter)
        if float(steps[-1]["text_left"]) > STUCK:  # type: ignore[arg-type]
            wider = texts_of(reference, data, rng=rng, every=True)
            if wider is not None and len(wider.words) > len(found.words):
                found = wider
                values, more = self._fit(model, table, found, rng, reporter)
                steps += more
        with torch.no_grad():
            table.weight[list(found.words)] = values.to(table.weight.dtype)
        return Unnamed(tuple(steps), words=found.words)

    def _fit(
        self, model: DualEncoder, table: nn.Embedding, found: Taught, rng: torch.Generator, reporter: Reporter
    ) -> tuple[Tensor, list[Step]]:
        """The vectors of the words after training, and what each round did; the table stays as it is."""
        values = nn.Parameter(table.weight.detach()[list(found.words)].float())
        course = Course("unnaming, steps", self.steps, ROUND, self.learning_rate, falls=True, rng=rng)
        run = _Run(found, Vectors(model, found.words, values), course)
        with only_trainable(model.module, ()):
            steps = course.fit_([values], run.batch, run.loss, run.judge, reporter, Unkept())
        told: Step = {"tower": "text", "words": [str(word) for word in found.words]}
        return values.detach(), [{**told, **step} for step in steps]


def undo_(model: DualEncoder, reference: DualEncoder, data: ForgetData, words: tuple[int, ...]) -> None:
    """Gives words the reference's vectors again."""
    tokens = data.class_tokens[0, :1].to(model.device)
    tables = table_of(model, tokens), table_of(reference, tokens)
    if tables[0] is not None and tables[1] is not None:
        with torch.no_grad():
            tables[0].weight[list(words)] = tables[1].weight[list(words)]


@torch.no_grad()
def table_of(model: DualEncoder, tokens: Tokens) -> nn.Embedding | None:
    """The table in which the text tower looks its tokens up; None where it has none.

    Args:
        model: only read.
        tokens: of any text.
    """
    with looked_up(model, tokens) as seen:
        model.encode_text(tokens)
    return seen[0] if seen else None


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
        taught = self.taught
        now = torch.cat([self.vectors.features(part) for part in torch.split(taught.tokens, TEXTS)])
        apart = (now - taught.wanted).square().sum(dim=1)
        own, others = apart[: taught.targets], apart[taught.targets :]
        # Word by word: one that is stuck is not to hide behind ten that are not.
        has = ((taught.tokens[: taught.targets] == word).any(dim=1) for word in taught.words)
        left = max((own[mask].mean().item() for mask in has if mask.any()), default=own.mean().item())
        return False, {"text_left": left, "text_moved": others.mean().item() if len(others) else 0.0}
