"""What a user calls a model, and the same model's name in the format that it is found to have."""

import json
from pathlib import Path

from efface import hub
from efface.backends import builtin, open_clip_sources, transformers_config
from efface.model_names import BUILTIN
from efface.open_clip_names import CONFIG, LOCAL
from efface.paths import path_of


def plain_name(source: str) -> str:
    """A model's name as its family understands it: what is built in or on the Hub becomes a folder.

    Args:
        source: as :func:`efface.load` takes it.

    Raises:
        InputError: If there is no model of that name built in, or on the Hub.
    """
    if source.startswith(BUILTIN):
        return builtin.resolve(source)
    repo = hub.repo_of(source)
    if source.startswith(hub.PREFIX):
        return f"{LOCAL}{open_clip_sources.fetch(str(repo))}"
    folder = path_of(source) if repo is None else fetch_either(repo)
    if not folder.is_dir():
        return source
    return f"{LOCAL}{folder}" if is_open_clip(folder) else str(folder)


def fetch_either(repo: str) -> Path:
    """The folder in the cache of a model on the Hub, in whichever format it is; transformers' where it is in both.

    Raises:
        InputError: If it is in neither, is not there, or cannot be fetched.
    """
    found = hub.fetch(repo, hub.CONFIGS)
    return open_clip_sources.fetch(repo) if is_open_clip(found) else transformers_config.fetch(repo, found)


def is_open_clip(folder: Path) -> bool:
    """Whether a folder is in open_clip's format, and not in transformers' too."""
    return (folder / CONFIG).is_file() and not _is_transformers(folder)


def shown(source: str) -> str:
    """A model's name for records and cards: a bare ``a/b`` is one on the Hub, so that a folder is ``./a/b``."""
    if "/" in source and source[0] not in "/~." and ":" not in source and path_of(source).exists():
        return f"./{source}"
    return source


def card_of(folder: Path | None) -> Path | None:
    """The model card of the model in a folder: in it, or beside it where that is called ``model``, as in a run folder.

    None where there is none.
    """
    if folder is None:
        return None
    places = (folder, folder.parent) if folder.name == "model" else (folder,)
    return next((place / hub.CARD for place in places if (place / hub.CARD).is_file()), None)


def _is_transformers(folder: Path) -> bool:
    """Whether there is a configuration of a CLIP by transformers; those of timm and of tokenizers have its name too."""
    try:
        written = json.loads((folder / transformers_config.CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    known = {*transformers_config.CLASSES, transformers_config.NAFLEX}
    return isinstance(written, dict) and str(written.get("model_type")) in known
