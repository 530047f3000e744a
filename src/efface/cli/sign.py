"""``efface sign``: signs the record of a run."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from efface.cli.lines import err
from efface.cli.options import RunFolder
from efface.export.place import RECORD, check_run


def sign(
    run: RunFolder,
    key: Annotated[Path, typer.Option(help="an Ed25519 private key, a PEM file")],
    valid_until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="when the signature ends, in UTC"),
    ] = None,
) -> int:
    """Signs the record of a run in place, so that efface verify --key tells whether it was changed since."""
    check_run(run)

    from efface.verifying.sign import sign_run

    end = None if valid_until is None else valid_until.replace(tzinfo=UTC)
    signed = sign_run(run, key, valid_until=end, passphrase=_asked)
    if signed.signature is not None:
        err.print(Text(f"signed by the key {signed.signature.key_id}"), soft_wrap=True)
    sys.stdout.write(f"{run / RECORD}\n")
    return 0


def _asked() -> str:
    answer: str = typer.prompt("passphrase of the key", hide_input=True, err=True)
    return answer
