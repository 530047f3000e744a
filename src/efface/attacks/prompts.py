"""Other prompts: paraphrases of the templates, ensembles of them, and other words in the place of the class's name.

The words are the aliases and phrases of the request, those that the user gives, and those of a small table of synonyms
and translations (:mod:`efface.attacks.words`). A word that means more than the class (*chess piece* for a knight) is
measured and not judged: a model that never learned the class may rightly know it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from efface.attacks.base import EDITED, REFERENCE, UNKNOWN, Asked, NotTried, Row, Trial
from efface.attacks.words import OTHER, wider
from efface.encoding import encode_classes
from efface.errors import EffaceWarning
from efface.request import TargetText
from efface.types import ClassFeatures, Reporter

PARAPHRASES = (
    "{}",
    "a {}.",
    "the {}.",
    "a picture of a {}",
    "a photo of the {}.",
    "a photo of one {}.",
    "a drawing of a {}.",
    "a small {}.",
    "a large {}.",
    "this is a {}.",
    "an image that shows a {}.",
    "a close view of a {}.",
)
NOTHING = "qzxvj"
"""No word. What a tokenizer makes of a word that it does not know, it makes of this."""


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Prompts:
    """Paraphrases, ensembles and other words."""

    templates: tuple[str, ...] = Field(default=PARAPHRASES, description="texts with {} for a name")
    words: int = Field(default=20, ge=0, description="words of the table that are tried, at most; all of the user's")

    name: ClassVar[str] = "prompts"
    summary: ClassVar[str] = "paraphrases, ensembles of them, synonyms and translations"
    tells: ClassVar[str] = "only the words that it was forgotten by were moved"
    quick: ClassVar[bool] = True

    def run(self, asked: Asked, *, rng: torch.Generator, reporter: Reporter) -> tuple[Row, ...]:
        """Asks every model by every text."""
        del rng
        words = self._words(asked)
        rows = []
        with reporter.stage("prompts", len(asked.models)) as advance:
            for model in asked.models:
                rows += self._paraphrased(asked, model)
                for kind, word in words:
                    cost = {"word": word.text}
                    trial = Trial(
                        self.name, f"{kind} {word.text!r}", "measure" if kind == "wider word" else "output", cost
                    )
                    rows += _by_word(asked, model, word, trial)
                advance(1)
        return tuple(rows)

    def _paraphrased(self, asked: Asked, model: str) -> list[Row]:
        """By all templates together; and by the one that the attacker's own images are found best by."""
        together = Trial(
            self.name, f"{len(self.templates)} paraphrases together", "output", {"texts": len(self.templates)}
        )
        rows = [row for place in range(2) for row in _by_templates(asked, model, self.templates, together, place)]
        try:
            own, labels = asked.features(model, "images", "final"), asked.labels("images")
        except NotTried:
            return rows
        best = Trial(
            self.name,
            f"the best of {len(self.templates)} paraphrases",
            "output",
            {"texts": len(self.templates), "images": int((labels == asked.roles[0][1]).sum())},
        )
        for place, (_, label) in enumerate(asked.roles):
            found = [
                ((own[labels == label] @ asked.texts(model, (template,)).T).argmax(dim=1) == label)
                .double()
                .mean()
                .item()
                for template in self.templates
            ]
            chosen = self.templates[max(range(len(found)), key=found.__getitem__)]
            rows += _by_templates(asked, model, (chosen,), best, place)
        return rows

    def _words(self, asked: Asked) -> list[tuple[str, TargetText]]:
        """What each word is, and the word: those that the model's tokenizer knows; it warns of the user's others."""
        strange = [word for word in asked.words if not _is_known(asked, word)]
        own = [("phrase" if word.kind == "phrase" else "word", word) for word in asked.words if word not in strange]
        if strange:
            names = ", ".join(repr(word.text) for word in strange)
            warnings.warn(
                f"the tokenizer does not know {names}: the class is not asked for so", EffaceWarning, stacklevel=3
            )
        known = {word.text.casefold() for word in asked.words} | {name.casefold() for name in asked.among}
        table = [word for word in OTHER.get(asked.name.casefold(), ()) if word.casefold() not in known]
        found = [("word", TargetText(word, "alias", asked.name)) for word in table]
        found += [("wider word", TargetText(word, "alias", asked.name)) for word in wider(asked.name)]
        return own + [(kind, word) for kind, word in found if _is_known(asked, word)][: self.words]


def _row(asked: Asked, model: str, classes: ClassFeatures, trial: Trial, place: int) -> Row:
    """Accuracy on one of the two classes by these texts of all classes."""
    role, label = asked.roles[place]
    near = asked.features(model, "held_out", "final")[asked.labels("held_out") == label] @ classes.T
    return trial.row(model, role, near.argmax(dim=1) == label)


def _by_templates(asked: Asked, model: str, templates: tuple[str, ...], trial: Trial, place: int) -> Iterator[Row]:
    """Accuracy on one of the two classes by these templates; of the edited model by no learned name in them, too."""
    yield _row(asked, model, asked.texts(model, templates), trial, place)
    if (model, place) == (EDITED, 0):
        yield replace(_row(asked, model, asked.unnamed(model, templates), trial, place), model=UNKNOWN)


def _by_word(asked: Asked, model: str, word: TargetText, trial: Trial) -> Iterator[Row]:
    """Accuracy on the class with a word in its place, all other classes as they are; and with one never learned."""
    classes = asked.texts(model).clone()
    encoder = asked.models[model].encoder
    classes[asked.roles[0][1]] = encode_classes(encoder, _tokens(asked, model, word.texts(asked.templates)))[0].cpu()
    yield _row(asked, model, classes, trial, 0)
    if model == EDITED and trial.kind == "output":
        yield replace(_row(asked, model, asked.unnamed(model), trial, 0), model=UNKNOWN)


def _is_known(asked: Asked, word: TargetText) -> bool:
    """Whether the tokenizer tells the word from one that means nothing."""
    nothing = TargetText(" ".join(NOTHING for _ in word.text.split()), word.kind, word.name)
    model = EDITED if EDITED in asked.models else REFERENCE
    read, unread = (_tokens(asked, model, text.texts(asked.templates)) for text in (word, nothing))
    return not torch.equal(read, unread)


def _tokens(asked: Asked, model: str, texts: tuple[str, ...]) -> Int[Tensor, "1 prompts context"]:
    return asked.models[model].class_tokens([texts])
