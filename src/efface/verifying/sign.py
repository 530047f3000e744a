"""The verb sign: a person stands by a record, until a date if they say so."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from efface.errors import InputError
from efface.export.folder import VERIFY, read_run, replace_file
from efface.export.place import RECORD
from efface.records.fields import TIME
from efface.records.signature import private_key, sign
from efface.report.document import Sealed, seal
from efface.verifying.folder import file_problems


def sign_run(
    run: str | Path,
    key: str | Path,
    *,
    valid_until: datetime | None = None,
    passphrase: Callable[[], str] = str,
    now: datetime | None = None,
) -> Sealed:
    """Signs the record of a run folder in place; an older signature is replaced.

    Args:
        run: the run folder.
        key: a PEM file with an Ed25519 private key.
        valid_until: when the signature ends, with its time zone; None for no end.
        passphrase: asked where the key is encrypted.
        now: when it is signed.

    Raises:
        InputError: If the record or the key cannot be used, the record or a file of the run is not as it was written,
            or the end has passed or has no time zone.
    """
    folder, time = Path(run), now or datetime.now(UTC)
    if valid_until is not None and valid_until.tzinfo is None:
        raise InputError(f"the end {valid_until} has no time zone", hint="give one, such as datetime.UTC")
    if valid_until is not None and valid_until <= time:
        raise InputError(f"the signature would end at {valid_until:{TIME}}, which has passed", hint="give a later date")
    sealed = read_run(folder)
    differs = next(
        (reason for is_model in (True, False) for reason in file_problems(folder, sealed, of_model=is_model)), None
    )
    if differs is not None:
        raise InputError(f"the run {str(folder)!r} is not as it was written: {differs}", hint=VERIFY)
    until = None if valid_until is None else valid_until.astimezone(UTC).strftime(TIME)
    signature = sign(
        sealed.sha256, private_key(Path(key), passphrase), signed=time.astimezone(UTC).strftime(TIME), valid_until=until
    )
    signed = seal(sealed, signature)
    replace_file(folder / RECORD, signed.to_json())
    return signed
