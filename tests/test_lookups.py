"""What a table gives to a token can be changed while it is asked, and only then."""

import pytest
import torch

from efface.lookups import looked_up
from efface.testing import TinyDualEncoder, tiny_dual_encoder

TOKENS = torch.tensor([[0], [3], [5]])


def table(model: TinyDualEncoder) -> torch.nn.Module:
    return model.module.text["table"]


def test_what_is_found_is_changed_for_these_tokens_alone() -> None:
    model = tiny_dual_encoder()
    before = model.encode_text(TOKENS).detach()
    with looked_up(model, TOKENS, lambda found: found.flip(0)) as seen:
        torch.testing.assert_close(model.encode_text(TOKENS), before.flip(0))
        # Other texts are looked up as ever.
        assert torch.equal(model.encode_text(TOKENS[:2]), before[:2])
    assert seen == [table(model)]
    assert torch.equal(model.encode_text(TOKENS), before)


def test_without_a_change_the_table_is_told() -> None:
    model = tiny_dual_encoder()
    with looked_up(model, TOKENS) as seen:
        model.encode_text(TOKENS)
    assert seen == [table(model)]


def test_nothing_stays_behind_after_an_error() -> None:
    model = tiny_dual_encoder()

    def fails(_: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), looked_up(model, TOKENS, fails):
        model.encode_text(TOKENS)
    assert not table(model)._forward_hooks
