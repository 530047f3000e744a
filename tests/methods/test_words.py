"""Which words of a class are its own, and what its texts and others with these are taught."""

import pytest
import torch

from efface.functional.nameless import nameless
from efface.methods import words
from efface.methods.words import texts_of, words_of
from efface.testing import tiny_dual_encoder
from efface.types import ForgetData
from tests.methods.test_unnaming import STAY, TARGET, TOKENS, texts


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of the tiny model but one are enough."""
    monkeypatch.setattr(words, "FEWEST", len(STAY))


def test_a_word_is_what_the_fewest_others_have_and_of_equals_the_rarest() -> None:
    # 0, 1 and 9 stand in every text, 5 in one other class's, 3 and 4 in none.
    others = torch.tensor([[[0, 1, 5, 9], [0, 5, 9, 9]], [[0, 1, 6, 9], [0, 6, 9, 9]], [[0, 1, 7, 9], [0, 8, 9, 9]]])
    assert words_of(torch.tensor([[0, 1, 3, 9], [0, 4, 3, 9]]), others) == (3, 4)
    assert words_of(torch.tensor([[0, 5, 3, 9]]), others) == (3,)
    # A word of another class, too, where there is no other.
    assert words_of(torch.tensor([[0, 1, 5, 9], [0, 5, 9, 9]]), others) == (5,)
    assert words_of(torch.tensor([[0, 1, 9, 9]]), others) == ()


def test_letters_and_function_words_are_none() -> None:
    # "bow and arrow" (5, 2, 6) beside "bow" and "arrow": of the three no class has 2, which is among the first.
    others = torch.tensor([[[0, 5, 9]], [[0, 6, 9]], [[0, 7, 9]], [[0, 8, 9]]])
    assert words_of(torch.tensor([[0, 5, 2, 6, 9]]), others) == (2,)
    assert words_of(torch.tensor([[0, 5, 2, 6, 9]]), others, first=3) == (6,)
    assert words_of(torch.tensor([[0, 2, 9]]), others, first=3) == (2,)


def test_every_word_that_no_other_class_has_can_be_taken() -> None:
    others = torch.tensor([[[0, 5, 9]], [[0, 6, 9]], [[0, 7, 9]], [[0, 8, 9]]])
    assert words_of(torch.tensor([[0, 3, 4, 6, 9]]), others) == (4,)
    # Of texts alone that are stuck with theirs.
    assert words_of(torch.tensor([[0, 3, 4, 6, 9], [0, 1, 2, 6, 9]]), others, every=[4]) == (4, 3, 2)
    assert words_of(torch.tensor([[0, 3, 4, 6, 9]]), others, every=[4]) == (4, 3)
    assert words_of(torch.tensor([[0, 5, 6, 9]]), others, every=[5, 6]) == (6,)


def test_other_texts_with_the_word_are_pinned() -> None:
    # Of a class that stays one prompt begins with the target's word.
    tokens = torch.cat([TOKENS, TOKENS], dim=1)
    tokens[STAY[0], 1] = TARGET
    found = texts_of(tiny_dual_encoder(), ForgetData((TARGET,), tokens), rng=torch.Generator().manual_seed(1))
    assert found is not None
    assert found.words == (TARGET,)
    assert found.tokens[found.targets :, 0].tolist() == [TARGET]
    torch.testing.assert_close(found.wanted[found.targets :], texts(tiny_dual_encoder())[[TARGET]])


def test_a_text_that_is_the_same_in_all_prompts_counts_once() -> None:
    """A phrase: what it is taught lies between what each prompt would teach it."""
    same = TOKENS[TARGET].expand(1, 2, -1)
    tokens = torch.cat([torch.cat([TOKENS, TOKENS.flip(0)], dim=1), same])
    found = texts_of(tiny_dual_encoder(), ForgetData((len(TOKENS),), tokens), rng=torch.Generator().manual_seed(1))
    assert found is not None
    assert found.targets == 1
    with torch.no_grad():
        each = nameless(torch.stack([texts(tiny_dual_encoder()), texts(tiny_dual_encoder()).flip(0)], dim=1))
    torch.testing.assert_close(found.wanted[0], nameless(each[:, None])[0])


def test_more_prompts_are_taught_beside_those_of_the_request() -> None:
    more = torch.stack([TOKENS.flip(0)[:, 0], TOKENS[:, 0]], dim=1)
    data = ForgetData((TARGET,), TOKENS, more_tokens=more)
    found = texts_of(tiny_dual_encoder(), data, rng=torch.Generator().manual_seed(1))
    assert found is not None
    # Of the target's three texts two are one.
    assert found.targets == 2
    assert sorted(found.tokens[:2, 0].tolist()) == sorted([TARGET, len(TOKENS) - 1 - TARGET])
    assert len(found.tokens) == len(found.wanted)


def test_of_many_texts_with_the_word_some_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "TEXTS", 4)
    monkeypatch.setattr(words, "COMMON", 1.0)
    tokens = torch.cat([TOKENS, TOKENS], dim=1)
    tokens[STAY, 1] = TARGET
    found = texts_of(tiny_dual_encoder(), ForgetData((TARGET,), tokens), rng=torch.Generator().manual_seed(1))
    assert found is not None
    assert len(found.tokens) == found.targets + 4
