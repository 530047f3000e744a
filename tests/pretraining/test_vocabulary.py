from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.errors import InputError
from efface.pretraining.vocabulary import folder_tokenizer, word_tokenizer

TEXTS = ["a photo of a Dog.", "a red dog, drawn", "Katze"]


def test_words_are_lower_case_in_order_and_the_end_is_the_highest() -> None:
    made = word_tokenizer(TEXTS, context=8)
    words = ["<pad>", "<unk>", "<bos>", ",", ".", "a", "dog", "drawn", "katze", "of", "photo", "red", "<eos>"]
    assert made.convert_ids_to_tokens(range(len(made))) == words
    assert made.eos_token_id == len(made) - 1


def test_a_text_is_its_words_between_begin_and_end() -> None:
    made = word_tokenizer(TEXTS, context=6)
    padded = made(["A dog?"], max_length=6, padding="max_length", truncation=True).input_ids
    assert made.convert_ids_to_tokens(padded[0]) == ["<bos>", "a", "dog", "<unk>", "<eos>", "<pad>"]
    cut = made(["a a a a a a a"], max_length=6, padding="max_length", truncation=True).input_ids
    assert made.convert_ids_to_tokens(cut[0]) == ["<bos>", "a", "a", "a", "a", "<eos>"]


@given(st.permutations(TEXTS), st.integers(1, 3))
def test_order_and_number_of_the_texts_do_not_matter(texts: list[str], times: int) -> None:
    assert word_tokenizer(texts * times, context=8).get_vocab() == word_tokenizer(TEXTS, context=8).get_vocab()


def test_special_tokens_in_captions_are_not_words_of_their_own() -> None:
    vocabulary = word_tokenizer(["<eos> <pad> x"], context=8).get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_no_words_are_refused() -> None:
    with pytest.raises(InputError, match="no word"):
        word_tokenizer([" ", ""], context=8)


def test_a_folder_gives_its_tokenizer_back(tmp_path: Path) -> None:
    made = word_tokenizer(TEXTS, context=8)
    made.save_pretrained(tmp_path)
    assert folder_tokenizer(str(tmp_path)).get_vocab() == made.get_vocab()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tokenizer"):
        folder_tokenizer(str(tmp_path))
