"""A run onto the Hugging Face Hub, through the Hub's own client."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from efface import hub
from efface.errors import EffaceError, InputError
from efface.export.folder import card_of, file_digests, page_of, read_run
from efface.export.place import CARD, MODEL, PAGE, RECORD, RETRIEVED, SYNTHETIC
from efface.report.card import OnHub, base_model
from efface.report.record import FileDigest

if TYPE_CHECKING:  # it takes a second to import
    from huggingface_hub import ModelInfo

TAG = "efface"
"""By which a repository that efface filled is known: its card has it."""
# What the Hub itself puts into a new repository.
_FROM_THE_START = {".gitattributes"}


class HubError(EffaceError):
    """The Hub did not take what was sent."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What would be sent.

    Attributes:
        repo: ``owner/name``.
        private: whether the repository is for its owner alone.
        overwrite: whether it may have files that efface did not put there.
        texts: from the path in the repository to what is made anew for it: the card, record and page.
        files: from the path in the repository to the file here.
        message: of the commit.
    """

    repo: str
    private: bool
    overwrite: bool
    texts: dict[str, str] = field(repr=False)
    files: dict[str, Path]
    message: str

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes, by its path in the repository."""
        of_texts = {name: len(text.encode()) for name, text in self.texts.items()}
        return of_texts | {name: path.stat().st_size for name, path in self.files.items()}


def plan_upload(
    run: str | Path,
    repo: str,
    *,
    private: bool = True,
    overwrite: bool = False,
    record: bool = False,
    page: bool = False,
) -> Upload:
    """What of a run goes to the Hub: the model's files and a card; record and page only if they are asked for.

    A record names folders of the machine as the user gave them; so does a page, which shows pictures of the held-out
    images besides. Card and page are made from the record, whatever lies in the folder under their names; the
    license alone is that of the card there, as the record does not say it.

    Args:
        run: the run folder.
        repo: ``owner/name``.
        private: whether the repository is for its owner alone.
        overwrite: whether it may have files that efface did not put there.
        record: send ``record.json`` too.
        page: send ``report.html`` too.

    Raises:
        InputError: If there is no model, a file that would be sent or shown is not as the record says, or the name
            cannot be one.
    """
    folder = Path(run)
    hub.check_repo(repo)
    sealed = read_run(folder)
    shown = (SYNTHETIC, RETRIEVED) if page else ()
    told, there = (_chosen(files, shown) for files in (sealed.files, file_digests(folder)))
    model = {file.path.removeprefix(f"{MODEL}/"): folder / file.path for file in sorted(there, key=lambda f: f.path)}
    if sealed.weights.result is None or not set(model) - set(shown):
        raise InputError(f"{str(folder)!r} has no model to send", hint="give the folder of a run that made one")
    if told != there:
        what = "the model" if not page else "the model, or a sheet of pictures,"
        raise InputError(f"{what} in {str(folder)!r} is not that of its record", hint="efface verify says more")
    texts = {RECORD: sealed.to_json()} if record else {}
    texts |= {PAGE: page_of(folder, sealed)} if page else {}
    place = OnHub(repo, hub_name(sealed.model), tuple(texts))
    texts[CARD] = card_of(folder, sealed, hub=place)
    files = {name: path for name, path in model.items() if name not in (*texts, *shown)}
    return Upload(repo, private, overwrite, texts, files, f"{sealed.label}: {sealed.method}")


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
        InputError: If the repository is there already and is public though a private one was asked for, or has files
            that efface did not put there and may not be overwritten.
        HubError: If the Hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # The last: a large file did not get through.
    unsent: tuple[type[Exception], ...] = (*hub.connection_errors(), OSError, RuntimeError)
    operations = [CommitOperationAdd(name, text.encode()) for name, text in upload.texts.items()]
    operations += [CommitOperationAdd(name, str(path)) for name, path in upload.files.items()]
    api = HfApi()
    try:
        # One that is there stays as it is, public or private, whatever is asked for here.
        api.create_repo(upload.repo, private=upload.private, exist_ok=True)
        found = api.model_info(upload.repo)
        _check_repository(upload, found)
        sent = api.create_commit(upload.repo, operations, commit_message=upload.message, parent_commit=found.sha)
        return str(sent.commit_url)
    except HfHubHTTPError as error:
        told = error.server_message or str(error).splitlines()[0]
        raise HubError(f"the Hub refused {upload.repo}: {told}", hint="log in with hf auth login") from None
    except unsent as error:
        raise HubError(
            f"the Hub cannot be reached: {error.__cause__ or error}", hint="look at HF_ENDPOINT and HF_HUB_OFFLINE"
        ) from None


def _check_repository(upload: Upload, found: "ModelInfo") -> None:
    if upload.private and not found.private:
        raise InputError(
            f"{upload.repo} is there already, and all can see it: nothing was sent",
            hint="send it to another repository, or for all to see with --public",
        )
    names = sorted({file.rfilename for file in found.siblings or ()} - _FROM_THE_START)
    if names and TAG not in (found.tags or ()) and not upload.overwrite:
        raise InputError(
            f"{upload.repo} has files that efface did not put there, such as {names[0]}: nothing was sent",
            hint="send it to another repository, or into this one with --overwrite",
        )


def _chosen(files: tuple[FileDigest, ...], shown: tuple[str, ...]) -> set[FileDigest]:
    """Those of the model, and some others by name."""
    return {file for file in files if file.path.startswith(f"{MODEL}/") or file.path in shown}
