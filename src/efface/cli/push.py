"""``efface push``: a run onto the Hugging Face Hub."""

import json
import sys
from typing import Annotated

import typer

from efface.cli.lines import err
from efface.cli.options import AsJson, RunFolder
from efface.export.place import check_run


def push(  # noqa: PLR0913 (one parameter an option)
    run: RunFolder,
    repo: Annotated[str, typer.Option(help="owner/name on the Hub")],
    send: Annotated[bool, typer.Option("--send", help="send it; without, only what would be sent is said")] = False,
    public: Annotated[bool, typer.Option("--public", help="make a repository that all can see")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="send record.json too; it names folders as they were given")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="send report.html too; it shows pictures of held-out images")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Sends model and card of a run to the Hugging Face Hub; without --send, says what it would send."""
    check_run(run)

    from efface.export import hub

    upload = hub.plan_upload(run, repo, private=not public, record=record, page=page)
    sizes = {"README.md": len(upload.card.encode())}
    sizes |= {name: path.stat().st_size for name, path in upload.files.items()}
    address = hub.send(upload) if send else None
    if as_json:
        plan = {"repo": repo, "private": upload.private, "sent": send, "commit": address, "files": sizes}
        sys.stdout.write(json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
        return 0
    for name, size in sizes.items():
        err.print(f"{size:>12,} bytes  {name}", soft_wrap=True, highlight=False, markup=False)
    if address is None:
        err.print(f"nothing was sent: add --send to send this to {repo}", soft_wrap=True, highlight=False, markup=False)
    else:
        sys.stdout.write(f"{address}\n")
    return 0
