"""Texts in which a name is no word but some vectors, put where the text tower looks its tokens up."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from efface.attacks.base import NotTried
from efface.backends.base import LoadedCLIP
from efface.lookups import looked_up
from efface.request import filled
from efface.types import DualEncoder, Features, Tokens

Vectors = Float[Tensor, "prompts vectors width"]
"""In the place of the name, of several prompts at once."""
MOST = 8
"""How often a name of few tokens is repeated, at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where vectors go.

    Attributes:
        tokens: of a prompt, whose name only keeps the place.
        first: the first token of the name.
        count: how many tokens it has.
    """

    tokens: Tokens
    first: int
    count: int


def place_in(clip: LoadedCLIP, template: str, name: str, vectors: int) -> Place:
    """The place of a name in a prompt, repeated until it has so many tokens or the text tower reads no more.

    Args:
        clip: whose tokenizer.
        template: with ``{}`` for the name.
        name: any.
        vectors: how many are wanted.

    Raises:
        NotTried: If the tokenizer has no token for the name.
    """
    without = clip.tokenize([filled(template, "")])[0]
    found = None
    for times in range(1, MOST + 1):
        tokens = clip.tokenize([filled(template, " ".join([name] * times))])
        differs = torch.nonzero(tokens[0] != without)[:, 0]
        count = _read(tokens[0]) - _read(without)
        is_cut = _read(tokens[0]) >= tokens.shape[1] - 1
        if count > 0 and (found is None or not is_cut):
            found = Place(tokens, int(differs[0]), count)
        if is_cut or count >= vectors:
            break
    if found is None:
        raise NotTried(f"the tokenizer has no token for {name!r}", hint="give a name of words that the model reads")
    return found


def features_of(encoder: DualEncoder, place: Place, vectors: Vectors) -> Features:
    """Text features of unit length of the prompt with these vectors in its place; gradients reach the vectors.

    Raises:
        NotTried: If the text tower looks its tokens up in no table.
    """

    def put(looked_up: Tensor) -> Tensor:
        head, tail = looked_up[:, : place.first], looked_up[:, place.first + place.count :]
        return torch.cat([head, vectors.to(looked_up.dtype), tail], dim=1)

    tokens = place.tokens.to(encoder.device).expand(len(vectors), -1)
    with looked_up(encoder, tokens, put) as seen:
        features = encoder.encode_text(tokens)
    _check(encoder, seen)
    return features


@torch.no_grad()
def mean_token(encoder: DualEncoder, place: Place) -> tuple[Float[Tensor, " width"], float]:
    """The mean of the text tower's table of tokens, and the root mean square of what it holds.

    Raises:
        NotTried: If it looks its tokens up in no table.
    """
    tokens = place.tokens.to(encoder.device)
    with looked_up(encoder, tokens) as seen:
        encoder.encode_text(tokens)
    _check(encoder, seen)
    table = seen[0].weight.float()
    return table.mean(dim=0), table.square().mean().sqrt().item()


def _read(tokens: Tensor) -> int:
    """How many tokens there are before those that fill up to the end, which are all alike."""
    rest = torch.nonzero(tokens != tokens[-1])[:, 0]
    return int(rest[-1]) + 1 if len(rest) else 0


def _check(encoder: DualEncoder, seen: list[nn.Embedding]) -> None:
    if not seen:
        raise NotTried(
            f"the text tower of {type(encoder.module).__name__} looks its tokens up in no table",
            hint="use a model of open_clip or transformers",
        )
