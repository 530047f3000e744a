"""A run onto the Hugging Face Hub, through the Hub's own client."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from efface.errors import EffaceError, InputError
from efface.export.folder import file_digests, read_run
from efface.export.place import CARD, MODEL, PAGE, RECORD
from efface.report.card import OnHub, base_model, license_of, render_card

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


class HubError(EffaceError):
    """The Hub did not take what was sent."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What would be sent.

    Attributes:
        repo: ``owner/name``.
        private: whether the repository, if it is made, is for its owner alone.
        card: the model card, made for this place.
        files: from the path in the repository to the file here.
        message: of the commit.
    """

    repo: str
    private: bool
    card: str = field(repr=False)
    files: dict[str, Path]
    message: str


def plan_upload(
    run: str | Path, repo: str, *, private: bool = True, record: bool = False, page: bool = False
) -> Upload:
    """What of a run goes to the Hub: the model's files and a card; record and page only if they are asked for.

    A record names folders of the machine as the user gave them, and a page shows pictures of the held-out images.

    Args:
        run: the run folder.
        repo: ``owner/name``.
        private: whether the repository is for its owner alone.
        record: send ``record.json`` too.
        page: send ``report.html`` too.

    Raises:
        InputError: If there is no model, a file of it is not as the record says, or the name cannot be one.
    """
    folder = Path(run)
    if not _REPO.fullmatch(repo):
        raise InputError(f"{repo!r} cannot be the name of a repository", hint="write owner/name")
    sealed = read_run(folder)
    told = {file for file in sealed.files if file.path.startswith(f"{MODEL}/")}
    there = {file for file in file_digests(folder) if file.path.startswith(f"{MODEL}/")}
    if sealed.weights.result is None or not there:
        raise InputError(f"{str(folder)!r} has no model to send", hint="give the folder of a run that made one")
    if told != there:
        raise InputError(f"the model in {str(folder)!r} is not that of its record", hint="efface verify says more")
    more = tuple(name for name, wanted in ((RECORD, record), (PAGE, page)) if wanted)
    library = "open_clip" if (folder / MODEL / "open_clip_config.json").is_file() else "transformers"
    card = render_card(
        sealed, library=library, license=license_of(folder / CARD), hub=OnHub(repo, hub_name(sealed.model), more)
    )
    files = {Path(file.path).name: folder / file.path for file in sorted(there, key=lambda file: file.path)}
    return Upload(
        repo, private, card, files | {name: folder / name for name in more}, f"{sealed.target}: {sealed.method}"
    )


def hub_name(model: str) -> str | None:
    """The base as the Hub knows it, ``owner/name``; None where it does not."""
    name = base_model(model)
    if name is None or "/" in name:
        return name
    # Here, because it takes seconds to import.
    from open_clip.pretrained import get_pretrained_cfg

    architecture, _, tag = name.partition(":")
    return str(get_pretrained_cfg(architecture, tag).get("hf_hub", "")).rstrip("/") or None


def send(upload: Upload) -> str:
    """Makes the repository if there is none, and sends everything in one commit, with the token of the Hub's client.

    Returns:
        The address of the commit.

    Raises:
        HubError: If the Hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # Of the HTTP library that the client stands on, which its versions do not agree on.
    unreachable: type[Exception] = HfHubHTTPError.__bases__[0]

    operations = [CommitOperationAdd(CARD, upload.card.encode())]
    operations += [CommitOperationAdd(name, str(path)) for name, path in upload.files.items()]
    api = HfApi()
    try:
        api.create_repo(upload.repo, private=upload.private, exist_ok=True)
        return str(api.create_commit(upload.repo, operations, commit_message=upload.message).commit_url)
    except HfHubHTTPError as error:
        told = error.server_message or str(error).splitlines()[0]
        raise HubError(f"the Hub refused {upload.repo}: {told}", hint="log in with hf auth login") from None
    except (unreachable, OSError, RuntimeError) as error:  # the last: a large file did not get through
        raise HubError(
            f"the Hub cannot be reached: {error.__cause__ or error}", hint="look at HF_ENDPOINT and HF_HUB_OFFLINE"
        ) from None
