"""``efface sign``: signs the record of a run."""

import sys
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from efface.cli.lines import err
from efface.cli.options import RunFolder
from efface.errors import InputError
from efface.export.place import RECORD, check_run
from efface.records.fields import TIME
from efface.records.signature import check_key_file


def _end(text: str) -> datetime:
    """The last second of a day, or a time."""
    try:
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except ValueError:
        pass
    try:
        return datetime.strptime(text, TIME).replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date such as 2027-12-31 or 2027-12-31T12:00:00Z") from None


def sign(
    run: RunFolder,
    key: Annotated[Path, typer.Option(help="an Ed25519 private key, a PEM file")],
    valid_until: Annotated[
        datetime | None,
        typer.Option(
            parser=_end,
            metavar="DATE",
            help="when the signature ends, in UTC: 2027-12-31, that whole day included, or 2027-12-31T12:00:00Z",
        ),
    ] = None,
) -> int:
    """Signs the record of a run in place, so that efface verify --key tells whether it was changed since."""
    check_run(run)
    check_key_file(key)

    from efface.verifying.sign import sign_run

    signed = sign_run(run, key, valid_until=valid_until, passphrase=_asked)
    if signed.signature is not None:
        err.print(Text(f"signed by the key {signed.signature.key_id}"), soft_wrap=True)
    sys.stdout.write(f"{run / RECORD}\n")
    return 0


def _asked() -> str:
    if not sys.stdin.isatty():
        raise InputError(
            "the key is encrypted, and there is no terminal to ask for its passphrase",
            hint="sign from a terminal, or with a key that is not encrypted",
        )
    answer: str = typer.prompt("passphrase of the key", hide_input=True, err=True)
    return answer
