"""Data sets of the Hugging Face Hub, through its client and its cache. Slow to import, because ``datasets`` is."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from efface import hub
from efface.data.formats import Given
from efface.data.formats.columns import digest_of_rows, stored_from
from efface.data.formats.parquet import quiet
from efface.data.images import Stored
from efface.errors import InputError

SPLIT = "test"
MEANT = {"imagefolder": "folders", "parquet": "parquet", "csv": "csv", "arrow": "saved", "webdataset": "wds"}
"""From names that datasets keeps for reading files here to the prefixes that do so."""
HINT = "write hf:ORGANIZATION/NAME,split=SPLIT,config=CONFIG; HF_HUB_OFFLINE=1 keeps to the cache"


def read(given: Given) -> Stored:
    """The images of a split: ``hf:org/name,split=test,config=plain_text,revision=main``, or ``hf:org/name`` alone.

    What is in the cache is not fetched again; with ``HF_HUB_OFFLINE=1`` nothing is fetched. The digest is that of the
    images and labels, since files of the cache differ from machine to machine.

    Raises:
        InputError: If the Hub does not give it, it has no such split or configuration, or a folder is called so too.
    """
    split = given.options.get("split", SPLIT)
    if not given.place:
        raise InputError(f"{given.source!r} names no data set", hint=HINT)
    if given.place in _PACKAGED_DATASETS_MODULES:
        # datasets would read the files of the working folder.
        prefix = MEANT.get(given.place)
        raise InputError(
            f"{given.source!r} names no data set of the Hub: by {given.place!r} datasets reads files on this machine",
            hint=f"write {prefix}:PLACE for data of yours" if prefix else HINT,
        )
    if given.path.is_dir():
        # datasets would read the folder instead.
        raise InputError(
            f"{given.source!r} names a data set of the Hub, but a folder {given.place!r} is here too",
            hint="run this in another folder; or give the folder by its path, without hf:",
        )
    try:
        with quiet(), _asked_once(given.place):
            table = datasets.load_dataset(
                given.place, given.options.get("config"), split=split, revision=given.options.get("revision")
            )
    except (OSError, ValueError, datasets.exceptions.DatasetsError, HfHubHTTPError, HFValidationError) as error:
        # What the Hub's client raises spans lines; the first says what is wrong.
        reason = str(error).strip().partition("\n")[0]
        if isinstance(error, ConnectionError):
            reason = "the Hub cannot be reached, and its cache on this machine does not hold it"
        raise InputError(
            f"the data set {given.place!r}, split {split!r}, cannot be had: {reason}",
            hint=HINT,
        ) from error
    found = stored_from(table, {}, folder=given.path, source=given.source)
    return Stored(
        rows=found.rows,
        labels=found.labels,
        class_names=found.class_names,
        digests={given.place: digest_of_rows(found)},
        columns=found.columns,
    )


@contextmanager
def _asked_once(name: str) -> Iterator[None]:
    """Keeps ``datasets`` to its cache where the Hub does not answer, which it would ask for half a minute."""
    was_offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = was_offline or not hub.answers_for(name)
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
