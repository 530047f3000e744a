"""What can be told of a model by its name and small files. Needs no torch, so that a wrong name is refused at once."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from efface import hub
from efface.errors import InputError, offer
from efface.open_clip_names import LOCAL, check_named, read_config
from efface.paths import path_of

BUILTIN = "builtin:"
"""Before the name of a model that comes with efface."""
FORMS = (
    "write the path of a folder in the format of transformers or open_clip, org/repo for a model on the Hub, "
    "NAME:TAG such as ViT-B-32:openai, or builtin:NAME"
)


def check_model(source: str) -> None:
    """Refuses a name of which it can be told by now that no model loads by it.

    The small files of a model on the Hub are in the client's cache afterwards.

    Args:
        source: as :func:`efface.load` takes it.

    Raises:
        InputError: If no model of that name comes with efface, is on the Hub or is open_clip's, or it names neither a
            file nor a folder with a configuration.
    """
    if source.startswith(BUILTIN):
        builtin_folder(source)
    elif source.startswith(LOCAL):
        read_config(path_of(source.removeprefix(LOCAL)))
    elif hub.check(source) is None:
        path = path_of(source)
        name, colon, tag = source.partition(":")
        if path.is_file() or holds_model(path):
            return
        if not colon or "/" in name:
            raise no_model(source)
        check_named(name, tag)


def no_model(source: str) -> InputError:
    """The error at a name that no model loads by; for a run folder it offers the model in it."""
    inside = path_of(source) / "model"
    hint = f"write {inside}" if holds_model(inside) else FORMS
    return InputError(f"{source!r} does not name a model that can be loaded", hint=hint)


def holds_model(folder: Path) -> bool:
    """Whether a folder holds the configuration of a model."""
    return any((folder / name).is_file() for name in hub.CONFIGS)


def builtin_root() -> Path:
    """The folder that holds one folder for each model that comes with efface."""
    return Path(str(files("efface") / "builtin_models"))


def builtin_folders() -> Mapping[str, Path]:
    """The folders of the models that come with efface, by their names, in order."""
    root = builtin_root()
    return {path.name: path for path in (sorted(root.iterdir()) if root.is_dir() else ()) if holds_model(path)}


def builtin_folder(source: str) -> Path:
    """The folder of a model that comes with efface.

    Args:
        source: ``builtin:NAME``.

    Raises:
        InputError: If no model of that name comes with efface.
    """
    name, known = source.removeprefix(BUILTIN), builtin_folders()
    # Looked up and not joined to a path, so that no name leads out of the package.
    if name in known:
        return known[name]
    raise InputError(f"no model {name!r} comes with efface", hint=offer(name, known))
