"""Models that come with efface: ``builtin:NAME`` stands for a folder inside the package."""

from importlib.resources import files
from pathlib import Path

from efface.backends import open_clip_sources, transformers_config
from efface.errors import InputError, offer

BUILTIN = "builtin:"


def root() -> Path:
    """The folder that holds one folder a model."""
    return Path(str(files("efface") / "builtin_models"))


def names() -> dict[str, str]:
    """The name by which each model loads, by its own, in order."""
    folders = sorted(folder for folder in root().iterdir() if folder.is_dir()) if root().is_dir() else []
    found = {folder.name: _source(folder) for folder in folders}
    return {name: source for name, source in found.items() if source is not None}


def resolve(source: str) -> str:
    """The name of the same model in the format that its folder has.

    Args:
        source: ``builtin:NAME``.

    Raises:
        InputError: If no model of that name comes with efface.
    """
    name, known = source.removeprefix(BUILTIN), names()
    # Looked up and not joined to a path, so that no name leads out of the package.
    if name in known:
        return known[name]
    raise InputError(f"no model {name!r} comes with efface", hint=offer(name, known))


def _source(folder: Path) -> str | None:
    if (folder / transformers_config.CONFIG).is_file():
        return str(folder)
    return f"{open_clip_sources.LOCAL}{folder}" if (folder / open_clip_sources.CONFIG).is_file() else None
