"""What open_clip has by name, and a folder in its format, as its files say.

They are read and not imported: open_clip takes seconds for that, and a slip of the hand should be answered at once.
"""

import ast
import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from efface.errors import InputError
from efface.paths import path_of

LOCAL = "local-dir:"
"""Before the path of a folder in open_clip's format."""
CONFIG = "open_clip_config.json"
"""The configuration in such a folder."""


def check_named(name: str, tag: str) -> None:
    """Refuses ``NAME:TAG`` and ``NAME:FILE`` where open_clip cannot have such a name or tag, and there is no such file.

    What is let pass open_clip may still not have. Once it is imported, it answers by itself: a program may have added
    models to it, which its files do not show.

    Raises:
        InputError: It offers the nearest names or tags.
    """
    home = None if "open_clip" in sys.modules else _home()
    if home is None:
        return
    names = model_names_in(home)
    if name not in names:
        raise no_name(name, names)
    source = (home / "pretrained.py").read_text(encoding="utf-8")
    # As it compares tags. Anywhere in the file will do: were it written otherwise some day, no right tag is refused.
    if tag.lower().replace("-", "_") not in re.findall(r"\w+", source) and not path_of(tag).is_file():
        raise no_tag(name, tag, tags_in(source).get(name, ()))


def no_name(name: str, names: Sequence[str]) -> InputError:
    """The error at a name that open_clip does not have."""
    near = difflib.get_close_matches(name, names, n=3)
    listed = "python -c 'import open_clip; print(open_clip.list_models())'"
    hint = f"did you mean {' or '.join(near)}?" if near else listed
    return InputError(f"open_clip has no model {name!r}", hint=hint)


def no_tag(name: str, tag: str, tags: Sequence[str]) -> InputError:
    """The error at a tag that open_clip does not have for a model."""
    near = difflib.get_close_matches(tag, tags, n=1)
    hint = (f"did you mean {near[0]}? " if near else "") + f"its tags are {', '.join(tags) or 'none'}"
    return InputError(f"open_clip has no weights {tag!r} for {name}", hint=hint)


def model_names_in(home: Path) -> list[str]:
    """The names of the models that open_clip comes with.

    Args:
        home: the folder of the package.
    """
    return sorted(path.stem for path in (home / "model_configs").glob("*.json"))


def tags_in(source: str) -> Mapping[str, Sequence[str]]:
    """The tags of each model, as far as they stand in open_clip's table of weights; nothing of what is made otherwise.

    Args:
        source: the module that holds the table.
    """
    bound = {
        target.id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    table = bound.get("_PRETRAINED")
    found: dict[str, Sequence[str]] = {}
    for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
        name = key.value if isinstance(key, ast.Constant) else None
        if isinstance(name, str):
            weights = dict(_keywords(bound.get(value.id) if isinstance(value, ast.Name) else value))
            found[name] = tuple(weights)
            quick = [tag for tag, how in weights.items() if "quick_gelu" in dict(_keywords(how))]
            if quick:
                found[f"{name}-quickgelu"] = tuple(quick)
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in a folder in open_clip's format.

    Raises:
        InputError: If there is no such folder, or it has no configuration that can be read.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}", hint="give the folder that holds " + CONFIG)
    path = folder / CONFIG
    if not path.is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        inside = folder / "model" / CONFIG
        hint = f"write {LOCAL}{inside.parent}" if inside.is_file() else "give a folder in open_clip's format"
        raise InputError(f"{folder} has no {CONFIG}: it holds {held}", hint=hint)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint="take the file from the original checkpoint") from None
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise InputError(f"{path} has no 'model_cfg'", hint="take the file from the original checkpoint")
    return config


def _home() -> Path | None:
    """The folder of open_clip; None where what is read of it is not there."""
    found = find_spec("open_clip")
    homes = [Path(home) for home in (found.submodule_search_locations or ())] if found else []
    return next((home for home in homes if (home / "pretrained.py").is_file() and model_names_in(home)), None)


def _keywords(call: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """The named arguments of a call; of anything else, none."""
    for keyword in call.keywords if isinstance(call, ast.Call) else ():
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
