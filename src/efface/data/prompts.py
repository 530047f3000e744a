"""Class names and the templates that make texts of them."""

import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from efface import hub
from efface.data.files import check_in, lines_of, must_exist
from efface.data.templates import IMAGENET, PUBLISHED, published
from efface.errors import InputError, offer
from efface.model_names import BUILTIN, builtin_folder
from efface.paths import path_of
from efface.request import check_names, check_templates, filled

CLASS_NAMES_FILE = "classnames.txt"
"""Beside a parquet file, in a folder of images or of a model: the class names, one a line in label order."""
# open_clip's list says "missile" and "sunglasses" twice; the rows below are those where WordNet's first name differs.
RENAMED = {744: "projectile", 836: "sunglass"}


def class_names_from(path: Path) -> tuple[str, ...]:
    """The class names in a UTF-8 file with one a line; blank lines at the end are ignored.

    Raises:
        InputError: If the file cannot be read, or a name in it is empty or stands twice.
    """
    names = lines_of(path)
    check_in(str(path), check_names, names)
    return names


def templates_from(value: str) -> tuple[str, ...]:
    """The templates that a user means.

    A template itself; the name of a data set with published ones, see :mod:`efface.data.templates`; a path to a UTF-8
    file with one a line; or a path to a JSON file: a list of them, or lists by data set, of which ``FILE.json:NAME``
    takes one. ``{c}``, as CLIP_benchmark writes the place for the class name, is turned into ``{}``.

    Raises:
        InputError: If it is none of these or two of them, or a template has not exactly one place for the class name.
    """
    if "{}" in value or "{c}" in value:
        template = _with_plain_place(value)
        check_templates((template,))
        return (template,)
    known = published(value)
    if known is not None:
        # A folder called so is the data set itself.
        if os.path.isfile(value):
            raise InputError(
                f"{value!r} is both a file and the name of published templates",
                hint=f"write ./{value} for the file; for the published ones rename it",
            )
        return known
    file, _, name = value.partition(".json:")
    path = path_of(f"{file}.json" if name else value)
    sets = ", ".join((*IMAGENET, *PUBLISHED))
    must_exist(path, hint=f"write {{}} where the class name goes, or give a file of templates, or one of {sets}")
    lines = _from_json(path, name) if path.suffix.lower() == ".json" else lines_of(path)
    templates = tuple(_with_plain_place(line) for line in lines)
    check_in(str(path), check_templates, templates)
    return templates


def _from_json(path: Path, name: str) -> tuple[str, ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON: {error}", hint="give a list of templates") from error
    if isinstance(found, dict):
        if name not in found:
            raise InputError(
                f"{str(path)!r} has no templates of {name!r}", hint=f"write {path}:NAME; {offer(name, found)}"
            )
        found = found[name]
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        what = "texts of each class by its name" if isinstance(found, dict) else "no list of texts"
        raise InputError(f"{str(path)!r} holds {what}", hint="give a list of templates with {} or {c}")
    return tuple(found)


def imagenet_names() -> tuple[str, ...]:
    """The 1000 class names of ImageNet-1k that open_clip uses, in label order.

    open_clip's list has two names twice, and then no text can tell the two classes apart. Row 744 is called
    "projectile" here instead of "missile" (which row 657 keeps), and row 836 "sunglass" instead of "sunglasses" (which
    row 837 keeps); both are WordNet's first name of the class. Figures for these two rows differ from those with
    open_clip's own list.

    Raises:
        InputError: If the installed open_clip has other names twice.
    """
    # Here, because open_clip takes seconds to import and most runs need none of its names.
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    given = tuple(IMAGENET_CLASSNAMES)
    names = tuple(RENAMED.get(row, name) if given.count(name) > 1 else name for row, name in enumerate(given))
    check_in("open_clip's IMAGENET_CLASSNAMES", check_names, names)
    return names


def names_for(model: str) -> tuple[str, ...]:
    """The class names that a model is asked to tell apart where none are given.

    Those of ``classnames.txt`` in the model's folder; else ImageNet-1k's. The models that come with efface have such a
    file, since they know the words of their own world only, and it goes with what is made of them.

    Args:
        model: a model as a user names it. Of one on the Hub the small files are fetched.

    Raises:
        InputError: If no model of that name comes with efface or is on the Hub, or the file cannot be used.
    """
    folder = hub.check(model)
    if folder is None:
        is_builtin = model.startswith(BUILTIN)
        folder = builtin_folder(model) if is_builtin else path_of(model.removeprefix("local-dir:"))
    file = folder / CLASS_NAMES_FILE
    return class_names_from(file) if file.is_file() else imagenet_names()


def with_target(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names that nobody gave for this request, with the one that is to be forgotten among them.

    One that differs in capitals alone is put in the way it is asked for; one that is not there is added.

    Raises:
        InputError: If it is not there but looks like a slip of the pen: what it means would stay.
    """
    if name in names:
        return names
    folded = [known.casefold() for known in names]
    if name.casefold() in folded:
        return tuple(name if known == name.casefold() else names[row] for row, known in enumerate(folded))
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.7)
    slips = [names[folded.index(known)] for known in near if _is_slip(name.casefold(), known)]
    if slips:
        raise InputError(
            f"{name!r} is not among the {len(names)} class names",
            hint=f"did you mean {' or '.join(slips)}? Else give --classnames with a file that has it",
        )
    return (*names, name)


def _is_slip(name: str, known: str) -> bool:
    """Whether a name is another one misspelt: nearly the same letters, or word for word not far from it."""

    def alike(one: str, other: str) -> float:
        return difflib.SequenceMatcher(None, one, other).ratio()

    words, others = name.split(), known.split()
    by_word = len(words) == len(others) and all(alike(*pair) >= 0.7 for pair in zip(words, others, strict=True))
    return abs(len(known) - len(name)) <= 2 and (by_word or alike(name, known) >= 0.8)


def with_targets(wanted: Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The same for several: each is held against the names that were there, not against one that was just added.

    Raises:
        InputError: As :func:`with_target`.
    """
    found = [with_target(name, names) for name in wanted]
    respelled = {old: new for each in found for old, new in zip(names, each, strict=False) if old != new}
    spelled = tuple(respelled.get(name, name) for name in names)
    return (*spelled, *(name for name in dict.fromkeys(wanted) if name not in spelled))


def texts(templates: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The texts of a class, one a template."""
    return tuple(filled(template, name) for template in templates)


def _with_plain_place(template: str) -> str:
    return template.replace("{c}", "{}")
