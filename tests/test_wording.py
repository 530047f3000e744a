"""Which words of a name have the tokens that were changed."""

import pytest
import torch
from torch import Tensor

from efface.types import Trace
from efface.wording import unnamed_words, words_with

IDS = {"freight": [5], "car": [6], "sports": [7], "baboon": [8, 9], "balloon": [3, 9], "": []}


def tokenize(texts: list[str]) -> Tensor:
    """1 begins a text, 2 ends it, and 0 fills it."""
    rows = [[1, *(token for word in text.split(" ") for token in IDS[word]), 2] for text in texts]
    return torch.tensor([row + [0] * (6 - len(row)) for row in rows])


@pytest.mark.parametrize(
    ("texts", "ids", "expected"),
    [
        (["freight car"], [5], ["freight"]),
        (["freight car", "sports car"], [6, 7], ["car", "sports"]),
        # A part of a word is the word's, and of every word that has it.
        (["baboon", "balloon"], [9], ["baboon", "balloon"]),
        (["freight car"], [8], []),
        # What every text has is nobody's.
        (["freight car"], [0, 1, 2], []),
        ([], [5], []),
    ],
)
def test_a_word_is_found_by_the_tokens_that_it_has_alone(texts: list[str], ids: list[int], expected: list[str]) -> None:
    assert words_with(tokenize, texts, ids) == expected  # type: ignore[arg-type]


def told(*steps: dict[str, object]) -> str:
    trace = Trace(steps, reached=True, reason="")  # type: ignore[arg-type]
    return unnamed_words(tokenize, ["freight car"], trace)  # type: ignore[arg-type]


def test_what_says_nothing_any_more_is_told_by_the_last_round_of_the_texts() -> None:
    one = {"words": ["5"], "kept": True}
    assert told({"loss": 1.0}, one) == "; token 5 of 'freight' says nothing in any text now"
    both = {"words": ["5", "6"], "kept": True}
    assert told(one, both) == "; tokens 5, 6 of 'freight', 'car' say nothing in any text now"
    assert told({"words": ["4"], "kept": True}) == "; token 4 says nothing in any text now"


def test_what_was_given_back_or_never_touched_is_not_told() -> None:
    assert told({"words": ["5"], "kept": False}) == ""
    assert told({"loss": 1.0}) == told() == ""
