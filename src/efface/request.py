"""What is to be forgotten. Needs no torch, so that a request can be checked before anything heavy loads."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from efface.beside import Beside
from efface.errors import InputError, is_text
from efface.sifting import Sifting

T = TypeVar("T")
TEMPLATES = ("a photo of a {}.",)
"""What a class name is put into where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """A class, and other words for it that are to fall with it.

    Attributes:
        name: of the class.
        aliases: other names of it, which go where its name goes.
        phrases: texts that mean it, which are used as they are.
    """

    name: str
    aliases: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetText:
    """Something to forget, as a method is handed it.

    Attributes:
        text: a class name, an alias or a phrase.
        kind: which of them.
        name: of the class that it means.
    """

    text: str
    kind: Literal["class", "alias", "phrase"]
    name: str

    def texts(self, templates: tuple[str, ...]) -> tuple[str, ...]:
        """As many texts as a class has: one a template, or the phrase itself."""
        return tuple(self.text if self.kind == "phrase" else filled(template, self.text) for template in templates)


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """What to forget, among which classes, and how texts are made of their names.

    Attributes:
        targets: what to forget.
        among: the names of all classes that the model is asked to tell apart, the targets' included.
        templates: texts with ``{}`` where the class name goes; a class is the mean of its texts.
        seed: every random number of the run follows from it.
        images: a source of the user's own images of the targets, which take the place of synthetic ones; None for none.
        beside: what of them is to be forgotten, and where images of what is to stay come from.
        sifting: what is to be left out of the user's own images.
    """

    targets: tuple[ClassTarget, ...]
    among: tuple[str, ...]
    templates: tuple[str, ...] = TEMPLATES
    seed: int = 0
    images: str | None = None
    beside: Beside = field(default_factory=Beside)
    sifting: Sifting = field(default_factory=Sifting)

    def __post_init__(self) -> None:
        check_names(self.among)
        check_templates(self.templates)
        check_targets(self.targets, self.among)
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the seed is {self.seed}", hint="it must lie between 0 and 2**63 - 1")
        self.beside.check(self.images)
        self.sifting.check(self.images)

    @property
    def texts(self) -> tuple[TargetText, ...]:
        """All that is to be forgotten: the classes, then every alias, then every phrase."""
        return texts_of(self.targets)

    @property
    def rows(self) -> tuple[int, ...]:
        """Where these texts stand among the texts of all classes, which aliases and phrases follow."""
        classes = [position(target.name, self.among) for target in self.targets]
        return (*classes, *range(len(self.among), len(self.among) + len(self.texts) - len(classes)))

    @property
    def groups(self) -> tuple[tuple[int, ...], ...] | None:
        """These rows class by class, where a kind is to be forgotten of several; None where all are one thing."""
        if not self.beside.where or len(self.targets) < 2:
            return None
        of = list(zip(self.texts, self.rows, strict=True))
        return tuple(tuple(row for text, row in of if text.name == target.name) for target in self.targets)


def texts_of(targets: Sequence[ClassTarget]) -> tuple[TargetText, ...]:
    """The classes, then every alias, then every phrase."""
    return (
        *(TargetText(target.name, "class", target.name) for target in targets),
        *(TargetText(alias, "alias", target.name) for target in targets for alias in target.aliases),
        *(TargetText(phrase, "phrase", target.name) for target in targets for phrase in target.phrases),
    )


def check_targets(targets: tuple[ClassTarget, ...], among: tuple[str, ...]) -> None:
    """Refuses targets that are no classes of the request, or are all of them, and words that mean something else.

    Raises:
        InputError: It names what cannot be.
    """
    names = [target.name for target in targets]
    if not names:
        raise InputError("there is no class to forget", hint="give at least one")
    if twice(names):
        raise InputError(f"the class {twice(names)[0]!r} is to be forgotten twice", hint="give it once")
    for name in names:
        position(name, among)
    if len(among) == len(names):
        only = f"{names[0]!r} is the only class name" if len(names) == 1 else "all class names are to be forgotten"
        raise InputError(
            f"{only}: there is nothing to tell {'it' if len(names) == 1 else 'them'} apart from",
            hint="give the names of the other classes too",
        )
    _check_words("alias", [alias for target in targets for alias in target.aliases], among)
    _check_words("phrase", [phrase for target in targets for phrase in target.phrases], ())


def _check_words(what: Literal["alias", "phrase"], words: Sequence[str], among: tuple[str, ...]) -> None:
    folded = {name.casefold() for name in among}
    for word in words:
        if not word.strip():
            raise InputError(f"{_an(what)} is empty", hint="give some words")
        if not is_text(word):
            raise InputError(f"the {what} {word!r} is no UTF-8 text", hint="write it in UTF-8")
        # Most tokenizers know no capitals.
        if word.casefold() in folded:
            raise InputError(
                f"the alias {word!r} is one of the class names",
                hint=f"to forget it too give it as a class, --class {word!r}; else take it from the class names",
            )
    if twice(words):
        raise InputError(f"the {what} {twice(words)[0]!r} is given twice", hint="give it once")
    if alike := twice([word.casefold() for word in words]):
        spelt = [word for word in words if word.casefold() == alike[0]]
        raise InputError(
            f"{' and '.join(map(repr, spelt))} are one {what}: they differ in capitals alone", hint="give one of them"
        )


def position(name: str, among: tuple[str, ...]) -> int:
    """Where a class name stands in a list of names.

    Raises:
        InputError: If it does not; the hint offers the nearest names.
    """
    if name in among:
        return among.index(name)
    near = difflib.get_close_matches(name, among, n=3, cutoff=0.5)
    raise InputError(
        f"the class {name!r} is not among the {len(among)} class names",
        hint=f"did you mean {' or '.join(map(repr, near))}?" if near else f"the first names are {list(among[:5])}",
    )


def filled(template: str, name: str) -> str:
    """The template with the name in its place."""
    # Not str.format: a name or a template may hold other braces.
    return template.replace("{}", name)


def targets_of(
    names: str | Sequence[str],
    aliases: Sequence[str] | Mapping[str, Sequence[str]] = (),
    phrases: Sequence[str] | Mapping[str, Sequence[str]] = (),
) -> tuple[ClassTarget, ...]:
    """Classes with their other words.

    Args:
        names: of one class or several.
        aliases: other names; of several classes as ``class=alias``, or a list by class.
        phrases: texts, likewise.

    Raises:
        InputError: If a word does not say which class it is of, or says one that is not to be forgotten.
    """
    classes = (names,) if isinstance(names, str) else tuple(names)
    if not classes:
        raise InputError("there is no class to forget", hint="give at least one")
    of_alias, of_phrase = (_by_class(kind, w, classes) for kind, w in (("alias", aliases), ("phrase", phrases)))
    return tuple(ClassTarget(name, of_alias.get(name, ()), of_phrase.get(name, ())) for name in classes)


def _by_class(
    kind: str, words: Sequence[str] | Mapping[str, Sequence[str]], classes: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    if isinstance(words, Mapping):
        strange = next((name for name in words if name not in classes), None)
        if strange is not None:
            raise InputError(f"{strange!r} has {_an(kind)}, and is not to be forgotten", hint=f"give one of {classes}")
        return {name: listed(kind, found) for name, found in words.items()}
    found: dict[str, tuple[str, ...]] = {}
    for word in listed(kind, words):
        name, text = (classes[0], word) if len(classes) == 1 else _told(kind, word, classes)
        found[name] = (*found.get(name, ()), text)
    return found


def _an(kind: str) -> str:
    return f"an {kind}" if kind == "alias" else f"a {kind}"


def _told(kind: str, word: str, classes: tuple[str, ...]) -> tuple[str, str]:
    """The class and the word of ``class=word``; a class name may hold ``=`` itself."""
    if told := [name for name in classes if word.startswith(f"{name}=")]:
        name = max(told, key=len)
        return name, word.removeprefix(f"{name}=")
    raise InputError(
        f"the {kind} {word!r} does not say which of the {len(classes)} classes it is of",
        hint=f"write --{kind} {classes[0]!r}={word.rpartition('=')[2]!r}, or another of the classes",
    )


def in_words(names: Sequence[str]) -> str:
    """Names as a sentence has them: ``a``, ``a and b``, ``a, b and c``; of more than five the first three."""
    if len(names) > 5:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def label_of(names: Sequence[str], where: Mapping[str, str]) -> str:
    """What is forgotten as a title has it: ``knight``, or ``knight (design notation)`` where only one kind of it is."""
    kind = ", ".join(f"{column} {value}" for column, value in where.items())
    return f"{in_words(names)} ({kind})" if kind else in_words(names)


def listed(field: str, values: Sequence[T]) -> tuple[T, ...]:
    """The values as a tuple, after making sure that they are not one text: it would be taken apart into its letters.

    Raises:
        InputError: If they are; it names the field.
    """
    if isinstance(values, str):
        raise InputError(f"{field} is the text {values!r}", hint="give a list, if only of one")
    return tuple(values)


def check_names(names: tuple[str, ...]) -> None:
    """Refuses class names that are empty or stand twice.

    Raises:
        InputError: It lists what was found.
    """
    check_filled(names)
    if found := twice(names):
        raise InputError(f"class names stand twice: {', '.join(map(repr, found))}", hint="give each class its own name")


def check_filled(names: tuple[str, ...]) -> None:
    """Refuses class names that are empty or no text.

    Raises:
        InputError: It lists what was found.
    """
    if not names:
        raise InputError("there are no class names", hint="give one name a line")
    if empty := [str(i + 1) for i, name in enumerate(names) if not name.strip()]:
        raise InputError(f"class name {', '.join(empty)} is empty", hint="give every class a name")
    broken = next((name for name in names if not is_text(name)), None)
    if broken is not None:
        raise InputError(f"the class name {broken!r} is no UTF-8 text", hint="write it in UTF-8")


def twice(names: Sequence[str]) -> list[str]:
    """The names that stand more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def check_templates(templates: tuple[str, ...]) -> None:
    """Refuses templates without exactly one ``{}``, or that are no text.

    Raises:
        InputError: It names the template.
    """
    if not templates:
        raise InputError("there are no templates", hint="give at least one, such as 'a photo of a {}.'")
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(
                f"the template {template!r} has {template.count('{}')} places for the class name",
                hint="write {} once, as in 'a photo of a {}.'",
            )
        if not is_text(template):
            raise InputError(f"the template {template!r} is no UTF-8 text", hint="write it in UTF-8")
