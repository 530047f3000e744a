import pytest
import torch

import efface
from efface.attacks.plain import Plain
from efface.attacks.prompts import PARAPHRASES, Prompts
from efface.backends.base import LoadedCLIP
from efface.errors import EffaceWarning
from efface.request import TargetText
from efface.types import Silent
from tests.attacks.asking import asked_of, value

RNG = torch.Generator()


def test_the_class_by_its_own_template_is_the_class_as_it_is(clip: LoadedCLIP) -> None:
    asked = asked_of(clip)
    rows = Prompts(templates=asked.templates).run(asked, rng=RNG, reporter=Silent())
    plain = Plain().run(asked, rng=RNG, reporter=Silent())
    for role in ("forget", "control"):
        expected = value(plain, model="edited", role=role, setting="by its name")
        for setting in ("1 paraphrases together", "the best of 1 paraphrases"):
            assert value(rows, model="edited", role=role, setting=setting) == expected


def test_a_word_stands_in_the_place_of_the_name_alone(clip: LoadedCLIP) -> None:
    words = (TargetText("hound", "alias", "dog"), TargetText("a photo of a dog.", "phrase", "dog"))
    asked = asked_of(clip, words=words)
    rows = Prompts().run(asked, rng=RNG, reporter=Silent())
    plain = value(Plain().run(asked, rng=RNG, reporter=Silent()), model="edited", role="forget", setting="by its name")
    # The phrase is what the template makes of the name.
    assert value(rows, model="edited", setting="phrase 'a photo of a dog.'") == plain
    (hound,) = [row for row in rows if row.setting == "word 'hound'" and row.model == "edited"]
    assert (hound.kind, hound.role, hound.n) == ("output", "forget", 4)
    classes = asked.texts("edited").clone()
    tokens = clip.tokenize(["a photo of a hound."])
    classes[1] = clip.encoder.encode_text(tokens)[0].detach()
    images = asked.features("edited", "held_out", "final")[asked.labels("held_out") == 1]
    assert hound.value == ((images @ classes.T).argmax(dim=1) == 1).double().mean()


def test_a_name_that_was_never_learned_is_asked_for_as_the_class_is(clip: LoadedCLIP) -> None:
    asked = asked_of(clip, words=(TargetText("hound", "alias", "dog"),))
    templates = ("a photo of a {}.", "{} by night, a film of 1931")
    rows = Prompts(templates=templates).run(asked, rng=RNG, reporter=Silent())
    images = asked.features("edited", "held_out", "final")[asked.labels("held_out") == 1]
    own = asked.features("edited", "images", "final")[asked.labels("images") == 1]

    def right(of: torch.Tensor, classes: torch.Tensor) -> float:
        return ((of @ classes.T).argmax(dim=1) == 1).double().mean().item()

    best = max(templates, key=lambda one: right(own, asked.texts("edited", (one,))))
    for setting, used in (
        ("2 paraphrases together", templates),
        ("the best of 2 paraphrases", (best,)),
        ("word 'hound'", asked.templates),
    ):
        expected = right(images, asked.unnamed("edited", used))
        assert value(rows, model="unknown", role="forget", setting=setting) == expected


def test_without_own_images_no_paraphrase_is_chosen(clip: LoadedCLIP) -> None:
    rows = Prompts().run(asked_of(clip, images=None), rng=RNG, reporter=Silent())
    assert {row.setting for row in rows} == {f"{len(PARAPHRASES)} paraphrases together"}


def test_every_word_of_the_user_is_tried_however_many_there_are(clip: LoadedCLIP) -> None:
    words = tuple(TargetText(f"hound {letter}", "alias", "dog") for letter in "abcdefghijklmnopqrstuvwxyz")
    found = Prompts(words=1)._words(asked_of(clip, words=words))
    assert [word for _, word in found] == list(words)


def test_a_word_of_the_user_that_the_tokenizer_does_not_know_is_named() -> None:
    clip = efface.load("builtin:symbols-vit")
    words = tuple(TargetText(word, "alias", "knight") for word in ("horse", "king sun", "cavalier"))
    asked = asked_of(clip, name="knight", among=("knight", "king"), control="king", words=words)
    with pytest.warns(EffaceWarning, match="does not know 'horse', 'cavalier': the class is not asked for so"):
        found = Prompts()._words(asked)
    assert [(kind, word.text) for kind, word in found] == [("word", "king sun"), ("wider word", "chess piece")]


def test_words_that_the_tokenizer_does_not_know_are_left_out() -> None:
    clip = efface.load("builtin:symbols-vit")
    asked = asked_of(clip, name="knight", among=("knight", "king"), control="king")
    words = [(kind, word.text) for kind, word in Prompts()._words(asked)]
    # Of horse, horseman, Springer, cavalier and caballo it knows none.
    assert words == [("wider word", "chess piece")]
