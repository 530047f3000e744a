from efface.attacks.words import OTHER, wider
from efface.symbols.catalogue import MEMBERS


def test_words_are_of_signs_and_none_is_the_sign_itself() -> None:
    assert set(OTHER) <= set(MEMBERS)
    for name, words in OTHER.items():
        assert len(set(words)) == len(words)
        assert name not in {word.casefold() for word in words}


def test_the_wider_word_is_that_of_the_group() -> None:
    assert wider("knight") == ("chess piece",)
    assert wider("dog") == ()
