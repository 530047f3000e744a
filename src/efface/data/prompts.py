"""Class names and the templates that make texts of them."""

from pathlib import Path

from efface.data.files import check_in, lines_of, must_exist
from efface.request import check_names, check_templates
from efface.symbols.catalogue import MEMBERS

EMBEDDED = "builtin:symbols-"
"""What names of the models of the embedded world start with."""
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
    """The templates that a user means: a template itself, or a path to a UTF-8 file with one a line.

    ``{c}``, as CLIP_benchmark writes the place for the class name, is turned into ``{}``.

    Raises:
        InputError: If it is neither, or a template has not exactly one place for the class name.
    """
    if "{}" in value or "{c}" in value:
        template = _with_plain_place(value)
        check_templates((template,))
        return (template,)
    path = Path(value).expanduser()
    must_exist(path, hint="write {} where the class name goes, or give a file with one template a line")
    templates = tuple(_with_plain_place(line) for line in lines_of(path))
    check_in(str(path), check_templates, templates)
    return templates


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

    The embedded world's for the models that were trained on it, which know no other words; else ImageNet-1k's.
    """
    return MEMBERS if model.startswith(EMBEDDED) else imagenet_names()


def texts(templates: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The texts of a class, one a template."""
    # Not str.format: a name or a template may hold other braces.
    return tuple(template.replace("{}", name) for template in templates)


def _with_plain_place(template: str) -> str:
    return template.replace("{c}", "{}")
