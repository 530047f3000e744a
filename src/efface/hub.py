"""Models on the Hugging Face Hub, through its own client and cache: ``org/repo`` becomes a folder on this machine.

The Hub is asked once, with a short time limit; where it cannot be reached, or may not (``HF_HUB_OFFLINE=1``), what the
cache holds is taken. Needs no torch, so that a name that leads nowhere is refused before anything heavy loads.
"""

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from efface.errors import InputError
from efface.paths import path_of

SECONDS = 3.0
"""How long the Hub has for its first answer."""
PREFIX = "hf-hub:"
"""Before the name of a model that is to be taken in open_clip's format."""
CONFIGS = ("config.json", "open_clip_config.json")
"""What a model on the Hub has one of: transformers' configuration, and open_clip's."""
CARD = "README.md"
"""The model card, which says the license."""
# Small files of a checkpoint: configuration, tokenizer, class names.
SMALL = (".json", ".txt", ".model")
_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form ``org/repo``."""
    return _ID.fullmatch(name) is not None


def repo_of(source: str) -> str | None:
    """The model on the Hub that a user names, ``org/repo`` or ``hf-hub:org/repo``; None where it is another name."""
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX)
    return source if is_hub_id(source) and not os.path.exists(path_of(source)) else None


def check_repo(repo: str) -> None:
    """Refuses what cannot be the name of a repository on the Hub; asks nobody.

    Raises:
        InputError: If it is not of the form ``owner/name``, or the Hub takes no such names.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined, unused-ignore]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        valid = False
    else:
        valid = is_hub_id(repo)
    if not valid:
        raise InputError(f"{repo!r} cannot be the name of a repository", hint="write owner/name")


def check(source: str) -> Path | None:
    """Makes sure that the small files of a model on the Hub are in the client's cache, if it is one that is named.

    Returns:
        The folder in the cache; None where it is another name.

    Raises:
        InputError: If there is no such model, or it is neither in the cache nor to be reached.
    """
    repo = repo_of(source)
    return None if repo is None else fetch(repo, CONFIGS[1:] if source.startswith(PREFIX) else CONFIGS)


def fetch(repo: str, configs: Sequence[str], weights: Sequence[Sequence[str]] = ()) -> Path:
    """The folder in the client's cache that holds a model's small files and weights, fetched where it lacks them.

    Args:
        repo: ``org/repo``.
        configs: names of which the model must have one.
        weights: lists of names, each for files that belong together; the first list of which the model has a file is
            taken. A name that ends in ``*`` stands for the files that begin so.

    Raises:
        InputError: If there is no such model, it has none of ``configs``, or it is neither in the cache nor to be
            reached.
    """
    if not is_hub_id(repo):
        raise _no_name(repo)
    listed = _listed(repo)
    if listed is None:
        return _cached(repo, configs)
    if not any(name in listed for name in configs):
        raise InputError(
            f"the model {repo!r} on the Hub has no {' or '.join(configs)}",
            hint="give a CLIP or SigLIP in the format of transformers or open_clip",
        )
    small = [name for name in listed if name == CARD or (name.endswith(SMALL) and "/" not in name)]
    chosen = ([name for name in listed if _matches(name, names)] for names in weights)
    return _download(repo, [*small, *next(filter(None, chosen), [])])


def fetch_file(repo: str, names: Sequence[str]) -> Path:
    """The first of some files that a model on the Hub has, in the client's cache, and the model's card beside it.

    Raises:
        InputError: If it has none of them, or is neither in the cache nor to be reached.
    """
    listed = _listed(repo)
    if listed is None:
        folder = _cached(repo, names)
        return next(folder / name for name in names if (folder / name).is_file())
    name = next((name for name in names if name in listed), None)
    if name is None:
        raise InputError(f"the model {repo!r} on the Hub has no {' or '.join(names)}", hint="check the name")
    return _download(repo, [name, *({CARD} & set(listed))]) / name


def answers_for(dataset: str) -> bool:
    """Whether the Hub answers in time when it is asked for a data set, be it that it has none of this name."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(dataset, timeout=SECONDS)
    except (HFValidationError, RepositoryNotFoundError):
        return True
    except _unreachable():
        return False
    return True


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(name == p or (p.endswith("*") and name.startswith(p[:-1]) and "/" not in name) for p in patterns)


def _listed(repo: str) -> list[str] | None:
    """The names of a model's files; None where the Hub cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        files = HfApi().model_info(repo, timeout=SECONDS).siblings or []
    except HFValidationError:  # two dots, say, which may well stand in a path
        raise _no_name(repo) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"there is no folder {repo!r}, and the Hub has no model {repo!r} that can be seen from here",
            hint="check the name; for a private or gated model, log in with: hf auth login",
        ) from None
    except _unreachable():
        return None
    return [file.rfilename for file in files]


def _no_name(repo: str) -> InputError:
    return InputError(
        f"there is no folder {repo!r}, and it is no name of a model on the Hub",
        hint="give the path of a folder, or write a model on the Hub as org/repo",
    )


def _unreachable() -> tuple[type[Exception], ...]:
    """What the client raises where the Hub cannot be asked, or answers with an error of its own."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    return (HfHubHTTPError, OfflineModeIsEnabled, *connection_errors())


def connection_errors() -> tuple[type[Exception], ...]:
    """What the client raises where there is no connection: versions of it are built on requests, httpx or httpx2."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined, unused-ignore]

    for kind in type(get_session()).__mro__:
        library = importlib.import_module(kind.__module__.split(".")[0])
        for name in ("TransportError", "RequestException"):
            if hasattr(library, name):
                return (getattr(library, name),)
    return ()


def _cached(repo: str, names: Sequence[str]) -> Path:
    """The folder in the client's cache that holds one of some files of a model."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        path = try_to_load_from_cache(repo, name)
        if isinstance(path, str):
            return Path(path).parent
    raise InputError(
        f"there is no folder {repo!r}, the Hub cannot be reached, and its cache on this machine holds no "
        f"{' or '.join(names)} of a model {repo!r}",
        hint="check the name and the network (is HF_HUB_OFFLINE set?), or give the path of a folder",
    )


def _download(repo: str, names: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    failures: tuple[type[Exception], ...] = (HfHubHTTPError, LocalEntryNotFoundError, *connection_errors())
    try:
        return Path(snapshot_download(repo, allow_patterns=names, etag_timeout=SECONDS))
    except failures as error:
        raise InputError(
            f"the model {repo!r} could not be fetched from the Hub: {' '.join(str(error).split())[:300]}",
            hint="try again; what is there already is not fetched twice",
        ) from error
