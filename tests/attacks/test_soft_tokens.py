from dataclasses import replace

import pytest
import torch
from torch import Tensor

from efface.attacks.base import NotTried
from efface.attacks.soft_tokens import Place, features_of, mean_token, place_in
from efface.backends.base import LoadedCLIP
from efface.testing import TinyDualEncoder, tiny_dual_encoder
from tests.test_cut import WRITE
from tests.test_cut import clip as clip_of

TEMPLATE = "a photo of a {}."


def by_characters(context: int) -> object:
    """A tokenizer with a token a letter of lower case, between a start and an end, filled up with zeros."""

    def tokenize(texts: list[str]) -> Tensor:
        rows = [[1, *(ord(c) - 94 for c in text if c.islower()), 2][:context] for text in texts]
        return torch.tensor([row + [0] * (context - len(row)) for row in rows])

    return tokenize


def spelling(clip: LoadedCLIP, context: int = 40) -> LoadedCLIP:
    return replace(clip, tokenize=by_characters(context))  # type: ignore[arg-type]


def test_the_place_is_where_the_name_stands(clip: LoadedCLIP) -> None:
    place = place_in(spelling(clip), TEMPLATE, "fox", 3)
    assert (place.first, place.count) == (1 + len("aphotoofa"), 3)
    assert place.tokens[0, place.first : place.first + 3].tolist() == [ord(c) - 94 for c in "fox"]
    assert place_in(spelling(clip), "{}", "ox", 1).first == 1


@pytest.mark.parametrize(("context", "count"), [(40, 6), (16, 3)])
def test_a_short_name_is_repeated_as_far_as_the_text_tower_reads(clip: LoadedCLIP, context: int, count: int) -> None:
    # "aphotoofa" and its two ends take 11 tokens: of 16 a second "fox" would take one too many.
    assert place_in(spelling(clip, context), TEMPLATE, "fox", 4).count == count


def test_a_template_may_hold_other_braces(clip: LoadedCLIP) -> None:
    assert place_in(spelling(clip), "a photo of a {} {close}.", "fox", 3).count == 3


def test_a_name_without_tokens_has_no_place(clip: LoadedCLIP) -> None:
    with pytest.raises(NotTried, match="no token for '42'"):
        place_in(spelling(clip), TEMPLATE, "42", 1)


@pytest.mark.parametrize("kind", WRITE)
def test_the_tables_own_vectors_give_the_texts_own_features_and_others_do_not(kind: str) -> None:
    encoder = clip_of(kind).encoder
    place = place_in(clip_of(kind), TEMPLATE, "cat", 1)
    mean, size = mean_token(encoder, place)
    table = next(
        module
        for module in encoder.module.modules()
        if isinstance(module, torch.nn.Embedding) and torch.equal(module.weight.float().mean(dim=0), mean)
    )
    assert size == pytest.approx(table.weight.square().mean().sqrt().item())
    own = table.weight[place.tokens[0, place.first : place.first + place.count]].detach()
    # Not the same in all channels, which a norm would take off again, and loud: towers of random weights are dull.
    other = 100 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    vectors = torch.stack([own, other]).requires_grad_()
    features = features_of(encoder, place, vectors)
    with torch.no_grad():
        torch.testing.assert_close(features[0], encoder.encode_text(place.tokens)[0], atol=1e-5, rtol=1e-5)
    assert (features[1] - features[0]).abs().max() > 1e-4
    (gradient,) = torch.autograd.grad(features[1, 0], [vectors])
    assert gradient[1].abs().sum() > 0
    assert gradient[0].abs().sum() == 0
    assert all(not module._forward_hooks for module in encoder.module.modules())


def test_a_tower_that_looks_up_something_else_is_not_tried() -> None:
    class Hasty(TinyDualEncoder):
        """It looks up the first token alone."""

        def embed_text(self, tokens: Tensor) -> Tensor:
            return super().embed_text(tokens[:, :1])

    encoder = Hasty(tiny_dual_encoder().module)
    place = Place(torch.tensor([[1, 2, 3]]), 1, 1)
    with pytest.raises(NotTried, match="text tower of TinyCLIP"):
        features_of(encoder, place, torch.zeros(1, 1, 16))
