"""Which texts of the class are taught to say nothing, and which of their words are changed for that."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.functional.nameless import nameless
from efface.lookups import looked_up
from efface.types import DualEncoder, Features, ForgetData, Tokens

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
def texts_of(
    model: DualEncoder, data: ForgetData, *, rng: torch.Generator, every: Collection[int] = ()
) -> Taught | None:
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


def words_of(own: Tokens, others: Tensor, *, first: int = 0, every: Collection[int] = ()) -> tuple[int, ...]:
    """Of each text the token that the fewest other classes have in theirs; of equals that with the largest number.

    A tokenizer numbers letters first, then what it met often. A text whose other tokens most classes have has no word
    of its own.

    Args:
        own: texts.
        others: the texts of other classes, by class and prompt.
        first: tokens with smaller numbers are taken only where there are no others.
        every: of a text whose token is one of these, all tokens that no other class has are taken beside it.
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
        more = free[1:] if free and free[0] in every else []
        found += free[:1] + [token for token in more if token not in counts]
    return tuple(dict.fromkeys(found))


def _encode(model: DualEncoder, tokens: Tensor) -> Tensor:
    texts, prompts, context = tokens.shape
    parts = torch.split(tokens.reshape(-1, context), TEXTS)
    return torch.cat([model.encode_text(part) for part in parts]).view(texts, prompts, -1)


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
