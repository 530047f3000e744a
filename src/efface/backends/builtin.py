"""Models that come with efface: ``builtin:NAME`` stands for a folder inside the package."""

from pathlib import Path

from efface.backends import transformers_config
from efface.model_names import builtin_folder, builtin_folders
from efface.open_clip_names import LOCAL


def names() -> dict[str, str]:
    """The name by which each model loads, by its own, in order."""
    return {name: _source(folder) for name, folder in builtin_folders().items()}


def resolve(source: str) -> str:
    """The name of the same model in the format that its folder has.

    Args:
        source: ``builtin:NAME``.

    Raises:
        InputError: If no model of that name comes with efface.
    """
    return _source(builtin_folder(source))


def _source(folder: Path) -> str:
    is_transformers = (folder / transformers_config.CONFIG).is_file()
    return str(folder) if is_transformers else f"{LOCAL}{folder}"
